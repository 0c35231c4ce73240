//! XLA devices: Burn's libtorch backend on torch_xla, the package that runs PyTorch on TPUs.
//!
//! An operation on such a device computes nothing. It is recorded, and [`sync`] compiles and runs the graph of all that was
//! recorded; a graph that was seen before is not compiled again. torch_xla is controlled from Python, so an interpreter
//! is embedded: the one of the environment that libtorch was loaded from. Only one thread may use XLA.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use burn::backend::libtorch::LibTorchDevice;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use super::name::{DeviceKind, DeviceName, Found};
use crate::libtorch;

/// The XLA devices among libtorch's, as the changed bindings number them.
const FIRST: usize = 1000;

/// The version that goes with the one of libtorch.
const VERSION: &str = "2.9.0";

static PYTHON: OnceLock<Result<Python, String>> = OnceLock::new();

/// The device of this index.
pub(super) fn device(index: usize) -> LibTorchDevice {
    LibTorchDevice::Cuda(FIRST + index)
}

/// Start torch_xla and find its devices.
pub(super) fn devices() -> Result<Vec<Found>, String> {
    if option_env!("L2SP_XLA").is_none() {
        return Err(format!(
            "this program was built without the changes to libtorch's bindings that XLA needs; build it with `{}`",
            DeviceKind::Xla.build_command()
        ));
    }
    let python = PYTHON.get_or_init(Python::start).as_ref().map_err(Clone::clone)?;
    let devices = python.evaluate("devices()")?;
    let (count, client) = devices.split_once(' ').unwrap_or(("0", ""));
    let found = |index| Found {
        name: DeviceName { kind: DeviceKind::Xla, index },
        model: format!("torch_xla, {client}"),
        memory: None,
        is_software: client == "CPU",
    };
    Ok((0..count.parse().unwrap_or(0)).map(found).collect())
}

/// Compute what operations on XLA devices have recorded, if there are any.
pub(super) fn sync() {
    run("sync()");
}

/// Compute it and wait until that is done.
pub(super) fn finish() {
    run("sync(wait=True)");
}

/// Set the seed of the random number generators of all XLA devices, if there are any.
pub(super) fn seed(seed: u64) {
    run(&format!("seed({seed})"));
}

/// The number of graphs that have been compiled, and the seconds it took; `None` without XLA devices.
pub(super) fn compilations() -> Option<(usize, f64)> {
    let Some(Ok(python)) = PYTHON.get() else { return None };
    let answer = python.evaluate("compilations()").ok()?;
    let (count, seconds) = answer.split_once(' ')?;
    Some((count.parse().ok()?, seconds.parse().ok()?))
}

#[expect(clippy::panic, reason = "as all of Burn's backends do when a device fails")]
fn run(call: &str) {
    if let Some(Ok(python)) = PYTHON.get()
        && let Err(error) = python.evaluate(call)
    {
        panic!("torch_xla: {error}");
    }
}

/// CPython's functions, see <https://docs.python.org/3/c-api/>.
struct Python {
    ensure: unsafe extern "C" fn() -> c_int,
    release: unsafe extern "C" fn(c_int),
    run_string: unsafe extern "C" fn(*const c_char) -> c_int,
    add_module: unsafe extern "C" fn(*const c_char) -> *mut c_void,
    attribute: unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void,
    utf8: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    drop: unsafe extern "C" fn(*mut c_void),
}

/// What an interpreter says of itself.
const LAYOUT: &str = r#"
import os, sys, sysconfig
print(os.path.join(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")))
print(sys.base_prefix)
print(sys.path[1:])
"#;

impl Python {
    /// Embed the interpreter of libtorch's environment and import torch_xla.
    fn start() -> Result<Self, String> {
        let executable = executable();
        let shown = executable.display();
        let layout = Command::new(&executable).args(["-c", LAYOUT]).output();
        let layout = layout.map_err(|error| format!("{shown} cannot be run: {error}"))?;
        let layout = String::from_utf8_lossy(&layout.stdout).into_owned();
        let [library, prefix, path] = layout.lines().collect::<Vec<_>>()[..] else {
            return Err(format!("{shown} does not say where its library is"));
        };
        if !library.contains(".so") || !Path::new(library).exists() {
            return Err(format!(
                "{shown} has no shared library, as {library} would be; use a Python that was built with --enable-shared"
            ));
        }
        let python = Self::load(library, prefix)
            .map_err(|error| format!("{library} cannot be loaded: {error}"))?;
        let import = format!("import sys\nsys.path += {path}\n{}", include_str!("xla.py"));
        python.execute(&import).map_err(|error| {
            format!(
                "{shown} cannot import torch_xla: {error}; install it in the environment of libtorch with \
                 `pip install torch_xla=={VERSION}`"
            )
        })?;
        Ok(python)
    }

    #[expect(
        unsafe_code,
        reason = "foreign functions with the types that CPython documents, called in the order that it documents"
    )]
    fn load(library: &str, prefix: &str) -> Result<Self, libloading::Error> {
        // Global, because extension modules are not linked with the interpreter's library. Never unloaded.
        let library = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_GLOBAL)? };
        let library: &'static Library = Box::leak(Box::new(library));
        macro_rules! function {
            ($name:literal) => {
                unsafe { *library.get($name)? }
            };
        }
        let decode: unsafe extern "C" fn(*const c_char, *mut usize) -> *mut c_void =
            function!(b"Py_DecodeLocale\0");
        let set_home: unsafe extern "C" fn(*mut c_void) = function!(b"Py_SetPythonHome\0");
        let initialize: unsafe extern "C" fn(c_int) = function!(b"Py_InitializeEx\0");
        let save_thread: unsafe extern "C" fn() -> *mut c_void = function!(b"PyEval_SaveThread\0");
        let python = Self {
            ensure: function!(b"PyGILState_Ensure\0"),
            release: function!(b"PyGILState_Release\0"),
            run_string: function!(b"PyRun_SimpleString\0"),
            add_module: function!(b"PyImport_AddModule\0"),
            attribute: function!(b"PyObject_GetAttrString\0"),
            utf8: function!(b"PyUnicode_AsUTF8\0"),
            drop: function!(b"Py_DecRef\0"),
        };
        let prefix = CString::new(prefix).unwrap_or_default();
        unsafe {
            // The interpreter keeps the decoded string.
            set_home(decode(prefix.as_ptr(), std::ptr::null_mut()));
            // 0: signals stay ours.
            initialize(0);
            // The global interpreter lock is taken only for each call.
            save_thread();
        }
        Ok(python)
    }

    /// Execute statements.
    fn execute(&self, statements: &str) -> Result<(), String> {
        self.answer(&format!("{}\n    answer = 'ok'", statements.replace('\n', "\n    "))).map(drop)
    }

    /// The value of an expression, as `str` shows it.
    fn evaluate(&self, expression: &str) -> Result<String, String> {
        self.answer(&format!("answer = 'ok' + str({expression})"))
    }

    /// Execute statements that leave `ok` and a string in `answer`.
    #[expect(unsafe_code, reason = "foreign functions, called with the interpreter's lock")]
    fn answer(&self, statements: &str) -> Result<String, String> {
        let code = format!(
            "try:\n    {statements}\nexcept BaseException as error:\n    answer = f'{{type(error).__name__}}: {{error}}'"
        );
        let code = CString::new(code).map_err(|error| error.to_string())?;
        let answer = unsafe {
            let lock = (self.ensure)();
            (self.run_string)(code.as_ptr());
            // A borrowed reference.
            let main = (self.add_module)(c"__main__".as_ptr());
            let answer = (self.attribute)(main, c"answer".as_ptr());
            let text = match answer.is_null() {
                true => std::ptr::null(),
                false => (self.utf8)(answer),
            };
            let copy = match text.is_null() {
                true => "it has no answer".to_owned(),
                false => CStr::from_ptr(text).to_string_lossy().into_owned(),
            };
            if !answer.is_null() {
                (self.drop)(answer);
            }
            (self.release)(lock);
            copy
        };
        match answer.strip_prefix("ok") {
            Some(value) => Ok(value.to_owned()),
            None => Err(answer.lines().next().unwrap_or_default().to_owned()),
        }
    }
}

/// The interpreter of the environment that libtorch was loaded from; otherwise the one on the search path.
fn executable() -> PathBuf {
    let folder = libtorch::loaded_from().unwrap_or_else(|| env!("LIBTORCH_FOLDER").into());
    // As in ENVIRONMENT/lib/python3.11/site-packages/torch/lib.
    let mut candidates = folder.ancestors().skip(1).map(|folder| folder.join("bin/python3"));
    candidates.find(|path| path.exists()).unwrap_or_else(|| "python3".into())
}
