//! Opens parts and keeps the recently used ones open.

use std::sync::Arc;

use arrow::array::ArrayRef;
use granary_catalog::{DeletionContent, PartLocation};
use granary_common::{ColumnId, Error, ErrorKind, PartId, Result};
use moka::future::Cache;
use object_store::ObjectStoreExt;

use super::check::{check_part, read_deletions};
use super::damage::{DamageWatch, MetPart, Named};
use super::part_files::PartFiles;
use super::{OpenPart, PartRef, Reads};
use crate::deletions::Deletions;
use crate::documents::DocumentReader;
use crate::merge::{HiddenKey, HiddenRows, Throttle};
use crate::part::file_path;
use crate::schema::PartSchema;
use crate::skip::SkipFile;
use crate::ttl::{NoExpressions, RowEvaluator};
use crate::volume::{Volume, Volumes, store_error};

/// Bounds of what a store keeps in memory.
#[derive(Clone, Debug)]
pub struct PartStoreOptions {
    /// Bytes of descriptors, indexes and footers of open parts; default 256 MiB.
    pub open_parts_bytes_max: u64,
    /// Bytes of deletion vectors that were read from files; default 64 MiB.
    pub deletions_bytes_max: u64,
    /// Bytes of skip indexes; default 64 MiB.
    pub skip_files_bytes_max: u64,
    /// Open parts, each with a file handle when it is on this machine; default 512.
    pub open_parts_max: u64,
    /// Bytes of what is known of rows that FINAL leaves out; default 128 MiB.
    pub hidden_bytes_max: u64,
    /// Bytes of rows that FINAL makes of several; default 128 MiB. Those of one set of parts take at
    /// most half of them.
    pub folded_bytes_max: u64,
}

impl Default for PartStoreOptions {
    fn default() -> Self {
        Self {
            open_parts_bytes_max: 256 << 20,
            deletions_bytes_max: 64 << 20,
            skip_files_bytes_max: 64 << 20,
            open_parts_max: 512,
            hidden_bytes_max: 128 << 20,
            folded_bytes_max: 128 << 20,
        }
    }
}

/// Opens parts on the volumes of a worker and keeps the recently used ones open.
#[derive(Debug)]
pub struct PartStore {
    volumes: Volumes,
    /// By the part that the files are named by, and the projection among them.
    open: Cache<(PartId, Option<u64>), Arc<PartFiles>>,
    /// Those in files, by the same part and the file's name.
    deletions: Cache<(PartId, String), Arc<Deletions>>,
    /// What FINAL leaves out of sets of parts.
    hidden: Cache<HiddenKey, Arc<HiddenRows>>,
    /// What it makes of those, column by column; `None` where they are too many to be kept.
    folded: Cache<(HiddenKey, ColumnId), Option<ArrayRef>>,
    folded_bytes_max: u64,
    /// Skip indexes likewise; `None` for one that is not there.
    skip_files: Cache<(PartId, String), Option<Arc<SkipFile>>>,
    watch: Option<Arc<dyn DamageWatch>>,
    evaluator: Arc<dyn RowEvaluator>,
    reads: Reads,
}

impl PartStore {
    /// A store over `volumes`.
    pub fn new(volumes: Volumes, options: PartStoreOptions) -> PartStore {
        // A part weighs its bytes, and at least its share of the number of parts.
        let capacity = options.open_parts_bytes_max;
        let share = capacity / options.open_parts_max.max(1);
        let open = Cache::builder()
            .max_capacity(capacity)
            .weigher(move |_, part: &Arc<PartFiles>| {
                u32::try_from(part.memory_bytes.max(share)).unwrap_or(u32::MAX)
            })
            .build();
        let deletions = Cache::builder()
            .max_capacity(options.deletions_bytes_max)
            .weigher(|_, deletions: &Arc<Deletions>| {
                u32::try_from(deletions.memory_bytes()).unwrap_or(u32::MAX)
            })
            .build();
        let hidden = Cache::builder()
            .max_capacity(options.hidden_bytes_max)
            .weigher(|_, hidden: &Arc<HiddenRows>| {
                u32::try_from(hidden.memory_bytes()).unwrap_or(u32::MAX)
            })
            .build();
        let folded = Cache::builder()
            .max_capacity(options.folded_bytes_max)
            .weigher(|_, values: &Option<ArrayRef>| {
                let bytes = values.as_ref().map_or(0, |values| values.get_array_memory_size());
                u32::try_from(bytes + 256).unwrap_or(u32::MAX)
            })
            .build();
        let skip_files = Cache::builder()
            .max_capacity(options.skip_files_bytes_max)
            .weigher(|_, file: &Option<Arc<SkipFile>>| {
                let bytes = file.as_ref().map_or(64, |file| file.memory_bytes());
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .build();
        let evaluator = Arc::new(NoExpressions);
        let reads = Reads::default();
        PartStore {
            volumes,
            open,
            deletions,
            hidden,
            folded,
            folded_bytes_max: options.folded_bytes_max,
            skip_files,
            watch: None,
            evaluator,
            reads,
        }
    }

    /// Computes columns that parts lack with `evaluator`, see [`crate::PartColumn`].
    pub fn with_evaluator(self, evaluator: Arc<dyn RowEvaluator>) -> PartStore {
        PartStore { evaluator, ..self }
    }

    /// Tells `watch` of damaged files that reads meet from now on.
    pub fn with_damage_watch(self, watch: Arc<dyn DamageWatch>) -> PartStore {
        PartStore { watch: Some(watch), ..self }
    }

    /// The volumes that it reads.
    pub fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// What scans read of it.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// How documents are read of which new parts get columns.
    pub(crate) fn documents(&self) -> Option<Arc<dyn DocumentReader>> {
        self.evaluator.documents()
    }

    /// Whether this worker can read parts at `location` itself.
    pub fn holds(&self, location: &PartLocation) -> bool {
        self.volumes.holding(location).is_some()
    }

    /// Whether this worker is to read `part` itself: it holds it, and not only in a damaged copy while
    /// others hold whole ones.
    pub fn may_read(&self, part: &PartRef) -> bool {
        let watch = self.watch.as_ref();
        self.holds(&part.location)
            && watch.is_none_or(|watch| !watch.is_read_elsewhere(&MetPart::from(part)))
    }

    /// Opens a part. Kinds: `Unavailable` when no volume of this worker holds it or the volume does
    /// not answer, `Corruption` when its files are missing, cut or damaged, `Unsupported` when a
    /// newer build wrote it.
    pub async fn open(&self, part: &PartRef) -> Result<Arc<OpenPart>> {
        let (files, deletions) = futures::try_join!(self.files(part), self.deletions(part))?;
        Ok(Arc::new(self.opened(part, files, deletions)))
    }

    /// Opens a part of which `hidden` rows are left out, and no others.
    pub async fn open_without(
        &self,
        part: &PartRef,
        hidden: Arc<Deletions>,
    ) -> Result<Arc<OpenPart>> {
        let hidden = Some(hidden).filter(|hidden| !hidden.is_empty());
        Ok(Arc::new(self.opened(part, self.files(part).await?, hidden)))
    }

    fn opened(
        &self,
        part: &PartRef,
        files: Arc<PartFiles>,
        deletions: Option<Arc<Deletions>>,
    ) -> OpenPart {
        OpenPart::new(self.named(part), files, deletions, Arc::clone(&self.evaluator))
    }

    /// What FINAL leaves out of `parts`, if it is known already.
    pub async fn known_hidden(
        &self,
        schema: &PartSchema,
        parts: &[PartRef],
    ) -> Option<Arc<HiddenRows>> {
        self.hidden.get(&HiddenKey::of(schema, parts)).await
    }

    /// The same of as many of the first of `parts` as something is known of, when all others have at most
    /// `rows_max` rows together; and how many these parts are.
    pub async fn known_hidden_of_first(
        &self,
        schema: &PartSchema,
        parts: &[PartRef],
        rows_max: u64,
    ) -> Option<(usize, Arc<HiddenRows>)> {
        let mut rows = 0;
        for first in (1..parts.len()).rev() {
            rows += parts[first].rows;
            if rows > rows_max {
                break;
            }
            if let Some(known) = self.known_hidden(schema, &parts[..first]).await {
                return Some((first, known));
            }
        }
        None
    }

    /// What FINAL leaves out of `parts`, as `finding` gives it. Found out once, whoever asks at the
    /// same time, and remembered. Kinds as of `finding`.
    pub async fn hidden(
        &self,
        schema: &PartSchema,
        parts: &[PartRef],
        finding: impl Future<Output = Result<HiddenRows>>,
    ) -> Result<Arc<HiddenRows>> {
        let finding = async { finding.await.map(Arc::new) };
        let found = self.hidden.try_get_with(HiddenKey::of(schema, parts), finding).await;
        found.map_err(|error| Error::new(error.kind(), error.message()))
    }

    /// `column` of the rows that FINAL makes of several of `parts`, if it is known: `None` within where
    /// these are too many to be kept. The rows of all columns of the same parts are in one order.
    pub async fn folded(
        &self,
        schema: &PartSchema,
        parts: &[PartRef],
        column: ColumnId,
    ) -> Option<Option<ArrayRef>> {
        self.folded.get(&(HiddenKey::of(schema, parts), column)).await
    }

    /// Remembers what [`PartStore::folded`] gives.
    pub async fn keep_folded(
        &self,
        schema: &PartSchema,
        parts: &[PartRef],
        column: ColumnId,
        values: Option<ArrayRef>,
    ) {
        self.folded.insert((HiddenKey::of(schema, parts), column), values).await;
    }

    /// How many bytes of the rows of one set of parts are worth to be kept.
    pub fn folded_bytes_max(&self) -> u64 {
        self.folded_bytes_max / 2
    }

    async fn files(&self, part: &PartRef) -> Result<Arc<PartFiles>> {
        let name = (part.files.1, part.projection);
        if let Some(open) = self.open.get(&name).await {
            return Ok(open);
        }
        let volume = self.volume(part)?;
        let opening = async { PartFiles::open(Arc::clone(volume), part).await.map(Arc::new) };
        let opened = self.open.try_get_with(name, opening).await;
        opened.map_err(|error| self.named(part).error((*error).clone()))
    }

    /// The rows of `part` that are deleted. Kinds as of [`PartStore::open`].
    pub async fn deletions(&self, part: &PartRef) -> Result<Option<Arc<Deletions>>> {
        let Some(content) = &part.deletions else { return Ok(None) };
        let DeletionContent::File { name, bytes, crc32c } = content else {
            let deletions = Deletions::from_content(content);
            let deletions = deletions.map(|deletions| Some(Arc::new(deletions)));
            return deletions.map_err(|error| error.context(format!("part {}", part.id)));
        };
        let (table, owner) = part.files;
        let reading = async {
            let volume = self.volume(part)?;
            let read = read_deletions(volume, (table, owner), name, *bytes, *crc32c).await;
            read.map(Arc::new)
        };
        let read = self.deletions.try_get_with((owner, name.clone()), reading).await;
        read.map(Some).map_err(|error| self.named(part).error((*error).clone()))
    }

    /// Reads every file of a part that this worker holds, also where it was read before. Neither the
    /// watch nor what is open has to do with it. Kinds: `Corruption` says what is damaged;
    /// `Unavailable` when no volume of this worker holds it or the volume does not answer.
    /// `throttle` bounds how fast it reads.
    pub async fn check(&self, part: &PartRef, throttle: &dyn Throttle) -> Result<()> {
        check_part(self.volume(part)?, part, throttle).await
    }

    fn named(&self, part: &PartRef) -> Named {
        Named { part: MetPart::from(part), watch: self.watch.clone() }
    }

    /// The skip index in the file `name` of `part`, if it has one. A damaged one is as good as none:
    /// more is read then. Kinds as of [`PartStore::open`].
    pub async fn skip_file(&self, part: &PartRef, name: &str) -> Result<Option<Arc<SkipFile>>> {
        let (table, owner) = part.files;
        let reading = async {
            let volume = self.volume(part)?;
            let path = volume.path(&file_path(table, owner, name));
            let found = async { volume.reads().get(&path).await?.bytes().await };
            match found.await {
                Ok(bytes) => match SkipFile::decode(bytes) {
                    Ok(file) => Ok(Some(Arc::new(file))),
                    Err(error) if error.kind() == ErrorKind::Corruption => {
                        self.pass_over(part, name, error.context(format!("file {name}"))).await;
                        Ok(None)
                    }
                    Err(error) => Err(error.context(format!("file {name}"))),
                },
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(store_error(&error).context(format!("file {name}"))),
            }
        };
        let read = self.skip_files.try_get_with((owner, name.to_owned()), reading).await;
        read.map_err(|error| self.named(part).error((*error).clone()))
    }

    /// Tells of a damaged skip index that the part was written with. One that was made later stands in
    /// no descriptor: nobody could say that the part is whole again.
    async fn pass_over(&self, part: &PartRef, name: &str, error: Error) {
        let files = self.files(part).await;
        let is_listed = files.is_ok_and(|files| files.descriptor.file(name).is_ok());
        tracing::warn!(part = %part.id, %error, is_listed, "a skip index is not used");
        if is_listed {
            self.named(part).error(error);
        }
    }

    /// The file may be there by now.
    pub async fn forget_skip_file(&self, part: &PartRef, name: &str) {
        self.skip_files.invalidate(&(part.files.1, name.to_owned())).await;
    }

    fn volume(&self, part: &PartRef) -> Result<&Arc<Volume>> {
        self.volumes.holding(&part.location).ok_or_else(|| {
            Error::unavailable(format!("part {} is not on a volume of this worker", part.id))
        })
    }

    /// Closes the files that are named by `part`, so that those of a deleted part take no space.
    pub async fn forget(&self, part: PartId) {
        for name in self.open_names(part) {
            self.open.invalidate(&name).await;
        }
    }

    fn open_names(&self, part: PartId) -> Vec<(PartId, Option<u64>)> {
        let names = self.open.iter().map(|(name, _)| *name);
        names.filter(|name| name.0 == part).collect()
    }

    /// Whether files that are named by `part` are open.
    pub fn is_open(&self, part: PartId) -> bool {
        !self.open_names(part).is_empty()
    }

    /// Forgets also the other files of that part: its files were replaced.
    pub async fn reopen(&self, part: PartId) {
        self.forget(part).await;
        let names = self.deletions.iter().map(|(name, _)| name);
        let of_part: Vec<_> = names.filter(|name| name.0 == part).collect();
        for name in of_part {
            self.deletions.invalidate(&*name).await;
        }
        let names = self.skip_files.iter().map(|(name, _)| name);
        let of_part: Vec<_> = names.filter(|name| name.0 == part).collect();
        for name in of_part {
            self.skip_files.invalidate(&*name).await;
        }
    }
}

/// A missing file of a part that the catalog names is damage.
pub(super) fn missing_is_corruption(error: Error, file: &str) -> Error {
    let kind = match error.kind() {
        ErrorKind::NotFound => ErrorKind::Corruption,
        kind => kind,
    };
    Error::new(kind, format!("file {file}: {}", error.message()))
}
