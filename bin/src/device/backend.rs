//! The only place that knows the Burn backends: which of them this program was built with, which devices they find, and
//! which type a device's name stands for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use albert::Precision;
use burn::backend::Autodiff;
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

use super::name::{DeviceError, DeviceKind, DeviceName, Devices, Found, KINDS};
use crate::panics::forget_panics;

#[cfg(not(any(
    feature = "flex",
    feature = "tch",
    feature = "wgpu",
    feature = "cuda",
    feature = "rocm",
    feature = "cpu",
    feature = "ndarray"
)))]
compile_error!(
    "choose a backend: build with the feature flex, tch, wgpu, vulkan, metal, cuda, rocm, cpu or ndarray"
);

/// A computation that is generic over the backend.
pub trait Work {
    /// The result of the computation.
    type Output;

    /// Run it on a device of backend `B`.
    fn on<B: AutodiffBackend>(self, device: B::Device) -> Self::Output;
}

/// A computation on several devices of one backend.
pub trait WorkOnAll {
    /// The result of the computation.
    type Output;

    /// Run it on devices of backend `B`, at least one.
    fn on_all<B: AutodiffBackend>(self, devices: Vec<B::Device>) -> Self::Output;
}

/// Run `work` on a device.
///
/// # Errors
/// A device that this program was not built for.
pub fn run<W: Work>(name: DeviceName, work: W) -> Result<W::Output, DeviceError> {
    struct OnOne<W>(W);
    impl<W: Work> WorkOnAll for OnOne<W> {
        type Output = W::Output;

        fn on_all<B: AutodiffBackend>(self, mut devices: Vec<B::Device>) -> W::Output {
            self.0.on::<B>(devices.swap_remove(0))
        }
    }
    run_on_all(&name.into(), OnOne(work))
}

/// Run `work` on devices.
///
/// # Errors
/// Devices that this program was not built for.
pub fn run_on_all<W: WorkOnAll>(devices: &Devices, work: W) -> Result<W::Output, DeviceError> {
    let names = devices.names();
    #[allow(unused_variables, reason = "only GPUs have an index")]
    let indices = names.iter().map(|name| name.index);
    Ok(match devices.first().kind {
        #[cfg(feature = "flex")]
        DeviceKind::Cpu => {
            work.on_all::<Autodiff<burn::backend::Flex>>(vec![Default::default(); names.len()])
        }
        #[cfg(feature = "tch")]
        DeviceKind::Tch => {
            work.on_all::<Autodiff<burn::backend::LibTorch>>(vec![libtorch::CPU; names.len()])
        }
        #[cfg(feature = "tch")]
        DeviceKind::TchCuda => {
            work.on_all::<Autodiff<burn::backend::LibTorch>>(indices.map(libtorch::cuda).collect())
        }
        #[cfg(feature = "tch")]
        DeviceKind::TchMps => {
            work.on_all::<Autodiff<burn::backend::LibTorch>>(vec![libtorch::MPS; names.len()])
        }
        #[cfg(feature = "xla")]
        DeviceKind::Xla => work
            .on_all::<Autodiff<burn::backend::LibTorch>>(indices.map(super::xla::device).collect()),
        #[cfg(feature = "wgpu")]
        DeviceKind::Wgpu | DeviceKind::Vulkan | DeviceKind::Metal => {
            kernels::keep_caches();
            let devices = names.iter().map(|name| webgpu::open(*name));
            work.on_all::<Autodiff<burn::backend::Wgpu>>(devices.collect::<Result<_, _>>()?)
        }
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda => {
            kernels::keep_caches();
            let devices = indices.map(burn::backend::cuda::CudaDevice::new);
            work.on_all::<Autodiff<burn::backend::Cuda>>(devices.collect())
        }
        #[cfg(feature = "rocm")]
        DeviceKind::Rocm => {
            kernels::keep_caches();
            let devices = indices.map(burn::backend::rocm::RocmDevice::new);
            work.on_all::<Autodiff<burn::backend::Rocm>>(devices.collect())
        }
        #[cfg(feature = "cpu")]
        DeviceKind::CubeclCpu => {
            kernels::keep_caches();
            work.on_all::<Autodiff<burn::backend::Cpu>>(vec![Default::default(); names.len()])
        }
        #[cfg(feature = "ndarray")]
        DeviceKind::NdArray => {
            work.on_all::<Autodiff<burn::backend::NdArray>>(vec![Default::default(); names.len()])
        }
        #[allow(unreachable_patterns, reason = "with all features none is left")]
        _ => return Err(DeviceError::NotCompiledIn(devices.first())),
    })
}

/// Finds the devices of a kind, or says why there is none.
type Search = fn() -> Result<Vec<Found>, String>;

/// The kinds that this program was built with.
const COMPILED_IN: &[(DeviceKind, Search)] = &[
    #[cfg(feature = "cuda")]
    (DeviceKind::Cuda, cuda::devices),
    #[cfg(feature = "rocm")]
    (DeviceKind::Rocm, rocm::devices),
    #[cfg(feature = "metal")]
    (DeviceKind::Metal, || webgpu::devices(DeviceKind::Metal)),
    #[cfg(feature = "vulkan")]
    (DeviceKind::Vulkan, || webgpu::devices(DeviceKind::Vulkan)),
    #[cfg(feature = "wgpu")]
    (DeviceKind::Wgpu, || webgpu::devices(DeviceKind::Wgpu)),
    #[cfg(feature = "tch")]
    (DeviceKind::TchCuda, libtorch::cuda_devices),
    #[cfg(feature = "tch")]
    (DeviceKind::TchMps, libtorch::mps_devices),
    #[cfg(feature = "flex")]
    (DeviceKind::Cpu, || Ok(vec![found(DeviceKind::Cpu, 0, "flex")])),
    #[cfg(feature = "tch")]
    (DeviceKind::Tch, || Ok(vec![found(DeviceKind::Tch, 0, "libtorch")])),
    #[cfg(feature = "cpu")]
    (DeviceKind::CubeclCpu, || Ok(vec![found(DeviceKind::CubeclCpu, 0, "CubeCL")])),
    #[cfg(feature = "ndarray")]
    (DeviceKind::NdArray, || Ok(vec![found(DeviceKind::NdArray, 0, "ndarray")])),
    #[cfg(feature = "xla")]
    (DeviceKind::Xla, super::xla::devices),
];

/// A device of unknown memory that is no emulation.
fn found(kind: DeviceKind, index: usize, model: impl Into<String>) -> Found {
    let name = DeviceName { kind, index };
    Found { name, model: model.into(), memory: None, is_software: false }
}

/// The kinds that the program was built with, each with its devices or the reason why there is none.
pub fn devices() -> impl Iterator<Item = (DeviceKind, Result<Vec<Found>, String>)> {
    COMPILED_IN.iter().map(|(kind, search)| (*kind, search()))
}

/// The kinds that the program was not built with.
pub fn not_compiled_in() -> impl Iterator<Item = DeviceKind> {
    KINDS.into_iter().map(|row| row.0).filter(|kind| COMPILED_IN.iter().all(|row| row.0 != *kind))
}

/// The device of this name; without a name the best that works, a GPU before the CPU. It has been tested in
/// `precision`.
///
/// # Errors
/// A device that the program was built without, that was not found, or that does not work.
pub fn choose(name: Option<DeviceName>, precision: Precision) -> Result<Found, DeviceError> {
    let Some(name) = name else { return best(precision) };
    let (_, search) = COMPILED_IN
        .iter()
        .find(|(kind, _)| *kind == name.kind)
        .ok_or(DeviceError::NotCompiledIn(name))?;
    let devices = search().map_err(|reason| DeviceError::Missing { name, reason })?;
    let count = devices.len();
    let device = devices.into_iter().find(|device| device.name == name).ok_or_else(|| {
        let reason = match count {
            0 => "none was found".to_owned(),
            1 => format!("there is only one, {}:0", name.kind.name()),
            count => format!("there are {count}, counted from 0"),
        };
        DeviceError::Missing { name, reason }
    })?;
    test(name, precision)?;
    Ok(device)
}

/// Each of these devices, as [`choose`].
///
/// # Errors
/// As [`choose`].
pub fn choose_all(
    devices: Option<&Devices>,
    precision: Precision,
) -> Result<Vec<Found>, DeviceError> {
    match devices {
        Some(devices) => {
            devices.names().iter().map(|name| choose(Some(*name), precision)).collect()
        }
        None => Ok(vec![best(precision)?]),
    }
}

fn best(precision: Precision) -> Result<Found, DeviceError> {
    let (mut emulated, mut problems) = (Vec::new(), Vec::new());
    // A search may take seconds, so the next kind is searched for only if no device of this one is usable.
    for (kind, devices) in devices() {
        match devices {
            Ok(devices) => {
                let (software, hardware) = devices.into_iter().partition(|it| it.is_software);
                if let Some(device) = first_usable(hardware, precision, &mut problems) {
                    return Ok(device);
                }
                emulated.extend::<Vec<_>>(software);
            }
            Err(reason) => problems.push(format!("{}: {reason}", kind.name())),
        }
    }
    first_usable(emulated, precision, &mut problems)
        .ok_or_else(|| DeviceError::None(problems.join("; ")))
}

/// The first device that works; what is wrong with those before it is added to `problems`.
fn first_usable(
    devices: Vec<Found>,
    precision: Precision,
    problems: &mut Vec<String>,
) -> Option<Found> {
    devices.into_iter().find(|device| {
        let tested = test(device.name, precision);
        problems.extend(tested.as_ref().err().map(ToString::to_string));
        tested.is_ok()
    })
}

/// Test a device with a small computation, so that a defect is reported before the run starts.
///
/// # Errors
/// A device that does not work, or not in `precision`.
pub fn test(name: DeviceName, precision: Precision) -> Result<(), DeviceError> {
    struct Test(Precision);
    impl Work for Test {
        type Output = bool;

        fn on<B: AutodiffBackend>(self, device: B::Device) -> bool {
            let dtype = self.0.dtype();
            if !B::supports_dtype(&device, dtype) {
                return false;
            }
            let x = Tensor::<B, 2>::ones([8, 8], &device).cast(dtype);
            let sums: Vec<f64> = x.clone().matmul(x).into_data().iter().collect();
            sums == [8.0; 64]
        }
    }
    let broken = |reason| DeviceError::Broken { name, reason };
    match catch_unwind(AssertUnwindSafe(|| run(name, Test(precision)))) {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) if precision == Precision::Float32 => {
            Err(broken("it computes wrong results".into()))
        }
        Ok(Ok(false)) => Err(DeviceError::Precision { name, precision: precision.name() }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(broken(forget_panics())),
    }
}

#[cfg(feature = "tch")]
mod libtorch {
    use burn::backend::libtorch::LibTorchDevice;

    use super::{DeviceKind, Found, found};

    pub(super) const CPU: LibTorchDevice = LibTorchDevice::Cpu;
    pub(super) const MPS: LibTorchDevice = LibTorchDevice::Mps;

    pub(super) fn cuda(index: usize) -> LibTorchDevice {
        LibTorchDevice::Cuda(index)
    }

    pub(super) fn cuda_devices() -> Result<Vec<Found>, String> {
        if !tch::utils::has_cuda() {
            return Err(
                "libtorch finds no NVIDIA GPU with a working driver, or was built without CUDA"
                    .into(),
            );
        }
        let device = |index| found(DeviceKind::TchCuda, index, "libtorch");
        Ok((0..tch::Cuda::device_count() as usize).map(device).collect())
    }

    pub(super) fn mps_devices() -> Result<Vec<Found>, String> {
        match tch::utils::has_mps() {
            true => Ok(vec![found(DeviceKind::TchMps, 0, "libtorch")]),
            false => Err("libtorch finds no Apple GPU".into()),
        }
    }
}

#[cfg(feature = "wgpu")]
mod webgpu {
    use std::sync::OnceLock;

    use burn::backend::wgpu::WgpuDevice;
    use burn::backend::wgpu::graphics::{AutoGraphicsApi, GraphicsApi};
    use burn::cubecl::future::block_on;
    use wgpu::{AdapterInfo, Backend, DeviceType};

    use super::{DeviceError, DeviceKind, DeviceName, Found, found};

    /// The adapters in wgpu's order, for the graphics API that Burn uses on this system. Queried once, because drivers are
    /// slow to answer.
    fn adapters() -> &'static [AdapterInfo] {
        static ADAPTERS: OnceLock<Vec<AdapterInfo>> = OnceLock::new();
        ADAPTERS.get_or_init(|| {
            let interface = AutoGraphicsApi::backend();
            let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
                backends: interface.into(),
                ..wgpu::InstanceDescriptor::new_without_display_handle()
            });
            let adapters = block_on(instance.enumerate_adapters(interface.into()));
            adapters.into_iter().map(|adapter| adapter.get_info()).collect()
        })
    }

    pub(super) fn devices(kind: DeviceKind) -> Result<Vec<Found>, String> {
        let interface = AutoGraphicsApi::backend();
        let fits = match kind {
            DeviceKind::Vulkan => interface == Backend::Vulkan,
            DeviceKind::Metal => interface == Backend::Metal,
            _ => true,
        };
        if !fits {
            return Err(format!(
                "on this system, GPUs are used through {interface}; use --device wgpu"
            ));
        }
        let devices: Vec<_> = adapters()
            .iter()
            .enumerate()
            .map(|(index, info)| Found {
                is_software: info.device_type == DeviceType::Cpu,
                ..found(kind, index, format!("{}, {interface}", info.name))
            })
            .collect();
        match devices.is_empty() {
            true => {
                Err(format!("no GPU with a driver for {interface} was found; install its driver"))
            }
            false => Ok(devices),
        }
    }

    /// Burn numbers each type of device separately.
    pub(super) fn open(name: DeviceName) -> Result<WgpuDevice, DeviceError> {
        let types: Vec<_> = adapters().iter().map(|info| info.device_type).collect();
        let this = types.get(name.index).copied().ok_or_else(|| {
            let reason = format!("{} were found", types.len());
            DeviceError::Missing { name, reason }
        })?;
        let number = types[..name.index].iter().filter(|other| **other == this).count();
        let device = match this {
            DeviceType::DiscreteGpu => WgpuDevice::DiscreteGpu(number),
            DeviceType::IntegratedGpu => WgpuDevice::IntegratedGpu(number),
            DeviceType::VirtualGpu => WgpuDevice::VirtualGpu(number),
            DeviceType::Cpu => WgpuDevice::Cpu,
            DeviceType::Other => WgpuDevice::DefaultDevice,
        };
        Ok(device)
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use burn::cubecl::cuda::install::cuda_path;
    use cudarc::driver::result::{self, DriverError, device};

    use super::{DeviceKind, Found, found};

    #[expect(unsafe_code, reason = "foreign functions, which may be called at any time")]
    pub(super) fn devices() -> Result<Vec<Found>, String> {
        let (driver, compiler) = unsafe {
            (cudarc::driver::sys::is_culib_present(), cudarc::nvrtc::sys::is_culib_present())
        };
        if !driver {
            return Err("NVIDIA's driver (libcuda) was not found; install it".into());
        }
        let count = result::init().and_then(|()| device::get_count()).map_err(words)?;
        if count == 0 {
            return Err("the driver finds no GPU".into());
        }
        if !compiler {
            return Err("NVIDIA's run-time compiler (libnvrtc) was not found; install CUDA's toolkit, or Python's package \
                        nvidia-cuda-nvrtc-cu12 with its lib folder in LD_LIBRARY_PATH"
                .into());
        }
        if !cuda_path().is_some_and(|path| path.join("include/cuda_fp16.h").exists()) {
            return Err("CUDA's headers were not found; install the CUDA toolkit, or set CUDA_PATH to the folder that \
                        contains include/cuda_fp16.h, such as that of Python's package nvidia-cuda-runtime-cu12"
                .into());
        }
        (0..count)
            .map(|index| {
                let device = device::get(index).map_err(words)?;
                let model = device::get_name(device).map_err(words)?;
                let memory = unsafe { device::total_mem(device) }.ok();
                Ok(Found {
                    memory: memory.map(|bytes| bytes as u64),
                    ..found(DeviceKind::Cuda, index as usize, model)
                })
            })
            .collect()
    }

    fn words(error: DriverError) -> String {
        let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
        format!("NVIDIA's driver reports: {}", text.unwrap_or_else(|_| format!("{error:?}")))
    }
}

#[cfg(feature = "rocm")]
mod rocm {
    use burn::cubecl::Runtime;
    use burn::cubecl::hip::HipRuntime;

    use super::{DeviceKind, Found, found};

    pub(super) fn devices() -> Result<Vec<Found>, String> {
        // A call without the libraries would abort the program.
        if !cubecl_hip_sys::is_available() {
            return Err("AMD's libraries (libamdhip64 and libhiprtc) were not found; install ROCm, or set ROCM_PATH to \
                        its folder"
                .into());
        }
        let count = HipRuntime::enumerate_all_devices(&()).len();
        if count == 0 {
            return Err("AMD's HIP finds no GPU; install its driver".into());
        }
        let device = |index| found(DeviceKind::Rocm, index, "HIP");
        Ok((0..count).map(device).collect())
    }
}

/// The caches of Burn's kernels on disk.
#[cfg(feature = "cubecl")]
mod kernels {
    use std::path::PathBuf;
    use std::sync::Once;

    use burn::cubecl::config::cache::CacheConfig;
    use burn::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

    /// Keep compiled kernels and the results of autotuning for the next run: in `CUBECL_CACHE`, or else in the
    /// folder `cubecl` of the user's cache. A `cubecl.toml` that says otherwise wins.
    pub(super) fn keep_caches() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let Some(folder) = folder() else { return };
            let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
            if matches!(config.autotune.cache, CacheConfig::Target) {
                config.autotune.cache = CacheConfig::File(folder.clone());
            }
            config.compilation.cache.get_or_insert(CacheConfig::File(folder));
            CubeClRuntimeConfig::set(config);
        });
    }

    fn folder() -> Option<PathBuf> {
        crate::environment::path("CUBECL_CACHE")
            .or_else(|| Some(crate::environment::user_cache()?.join("cubecl")))
    }
}
