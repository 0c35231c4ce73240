//! The tensors of a model folder: `model.safetensors`, or shards and their index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn_store::{ModuleStore, SafetensorsStore, TensorSnapshot};
use files::FileKind;
use serde::Deserialize;

use crate::names::{INDEX_FILE, WEIGHTS_FILE};
use crate::weights_error::WeightsError;

/// The tensors of a folder's weights, which are read when they are needed.
pub(crate) struct WeightsFile {
    /// What errors name.
    pub(crate) path: PathBuf,
    pub(crate) tensors: BTreeMap<String, TensorSnapshot>,
}

impl WeightsFile {
    /// Opens `model.safetensors`, or the shards that its index lists.
    pub(crate) fn open(folder: &Path) -> Result<Self, WeightsError> {
        let path = folder.join(WEIGHTS_FILE);
        if path.is_file() {
            let tensors = read_file(&path)?;
            return Ok(Self { path, tensors });
        }
        let index = folder.join(INDEX_FILE);
        if index.is_file() {
            return Self::open_shards(folder, index);
        }
        let hint = if !folder.is_dir() {
            "there is no such folder"
        } else if folder.join("pytorch_model.bin").exists() {
            "its weights are a pickled pytorch_model.bin; load it in Python and save it with safe_serialization=True"
        } else {
            "a Hugging Face model folder has its weights in that file"
        };
        Err(WeightsError::NoWeights { folder: folder.to_path_buf(), hint })
    }

    fn open_shards(folder: &Path, path: PathBuf) -> Result<Self, WeightsError> {
        #[derive(Deserialize)]
        struct Index {
            /// The shard of each tensor.
            weight_map: BTreeMap<String, String>,
        }
        let not_an_index = |reason: String| WeightsError::Index { path: path.clone(), reason };
        let text = files::read(&path, FileKind::Config)
            .map_err(|error| not_an_index(error.to_string()))?;
        let Index { weight_map } =
            serde_json::from_slice(&text).map_err(|error| not_an_index(error.to_string()))?;

        let mut tensors = BTreeMap::new();
        let shards: BTreeSet<&String> = weight_map.values().collect();
        for shard in shards {
            if Path::new(shard).file_name() != Some(shard.as_ref()) {
                return Err(not_an_index(format!(
                    "`{shard}` is not the name of a file in the same folder"
                )));
            }
            let path = folder.join(shard);
            if !path.is_file() {
                return Err(not_an_index(format!(
                    "it lists {shard}, which is missing; download that file as well"
                )));
            }
            let shard_tensors = read_file(&path)?;
            tensors.extend(
                shard_tensors.into_iter().filter(|(name, _)| weight_map.get(name) == Some(shard)),
            );
        }
        Ok(Self { path, tensors })
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, TensorSnapshot>, WeightsError> {
    // Before the store, which calls every file that it cannot read damaged.
    files::open(path, FileKind::Weights)
        .map_err(|source| WeightsError::Read { path: path.to_path_buf(), source })?;
    read_tensors(SafetensorsStore::from_file(path), path)
}

pub(crate) fn read_tensors(
    mut store: SafetensorsStore,
    path: &Path,
) -> Result<BTreeMap<String, TensorSnapshot>, WeightsError> {
    let tensors = store.get_all_snapshots().map_err(|error| WeightsError::Unreadable {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })?;
    Ok(tensors.clone())
}
