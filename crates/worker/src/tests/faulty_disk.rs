//! A disk that fails at a chosen step, and that knows what would be left of it if the power failed.
//!
//! Steps are done on a real folder. Beside it stands a model of what is durable: the bytes of a
//! file from its sync on, the names in a folder as they were at its last sync. After a crash the
//! worst that may be found is exactly that, and anything between it and what was written.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use granary_common::Random;
use granary_common::random::SeededRandom;
use granary_storage::{DiskStep, DiskWatch};
use parking_lot::Mutex;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One step fails, as on a full disk; those after it go well.
    OneStep,
    /// No step is done any more: the process has ended.
    Crash,
}

/// What a restart finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Every step that was done: the process was killed, the machine lives.
    Everything,
    /// Only what was synced: the power failed.
    Synced,
    /// What was synced, and of the rest this or that; files without a sync hold nothing of use.
    Some(u64),
}

#[derive(Debug)]
enum Node {
    File { synced: Option<Vec<u8>> },
    Folder { now: BTreeMap<OsString, usize>, synced: BTreeMap<OsString, usize> },
}

#[derive(Debug)]
struct State {
    nodes: Vec<Node>,
    steps: u64,
    fails_at: u64,
    fault: Fault,
}

/// See the module.
#[derive(Debug)]
pub struct FaultyDisk {
    root: PathBuf,
    state: Mutex<State>,
}

impl FaultyDisk {
    /// A disk that is whole and durable as `root` is now.
    pub fn new(root: &Path) -> FaultyDisk {
        let mut nodes = Vec::new();
        load(root, &mut nodes);
        let state = State { nodes, steps: 0, fails_at: u64::MAX, fault: Fault::OneStep };
        FaultyDisk { root: root.to_owned(), state: Mutex::new(state) }
    }

    /// Counts steps from here on; step `at`, from 1, fails.
    pub fn arm(&self, fault: Fault, at: u64) {
        let mut state = self.state.lock();
        (state.steps, state.fails_at, state.fault) = (0, at, fault);
    }

    /// Whether the step that was to fail was reached.
    pub fn has_failed(&self) -> bool {
        let state = self.state.lock();
        state.steps >= state.fails_at
    }

    /// Puts into `target` what a restart may find, unless it finds the folder itself.
    pub fn recover(&self, target: &Path, seed: Option<u64>) {
        let state = self.state.lock();
        let random = seed.map(SeededRandom::new);
        restore(&state.nodes, 0, target, random.as_ref());
    }
}

/// The tree at `path`; returns its place.
fn load(path: &Path, nodes: &mut Vec<Node>) -> usize {
    let place = nodes.len();
    if path.is_file() {
        nodes.push(Node::File { synced: Some(std::fs::read(path).unwrap()) });
        return place;
    }
    nodes.push(Node::Folder { now: BTreeMap::new(), synced: BTreeMap::new() });
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let child = load(&entry.path(), nodes);
        let Node::Folder { now, synced } = &mut nodes[place] else { unreachable!() };
        now.insert(entry.file_name(), child);
        synced.insert(entry.file_name(), child);
    }
    place
}

fn restore(nodes: &[Node], place: usize, target: &Path, random: Option<&SeededRandom>) {
    let kept = || random.is_some_and(|random| random.next_u64() % 2 == 0);
    match &nodes[place] {
        // Bytes without a sync: the length may be there and the content not.
        Node::File { synced: None } if kept() => std::fs::write(target, [0; 64]).unwrap(),
        Node::File { synced: None } => std::fs::write(target, []).unwrap(),
        Node::File { synced: Some(content) } => std::fs::write(target, content).unwrap(),
        Node::Folder { now, synced } => {
            std::fs::create_dir_all(target).unwrap();
            let mut names: BTreeMap<&OsString, usize> =
                synced.iter().map(|(name, child)| (name, *child)).collect();
            for name in now.keys().chain(synced.keys()) {
                if now.get(name) != synced.get(name) && kept() {
                    match now.get(name) {
                        Some(child) => names.insert(name, *child),
                        None => names.remove(name),
                    };
                }
            }
            for (name, child) in names {
                restore(nodes, child, &target.join(name), random);
            }
        }
    }
}

/// Where a step is unknown, somebody gave up waiting for the one before it, which was then done or
/// not: the model leaves it out.
impl State {
    fn find(&self, root: &Path, path: &Path) -> Option<usize> {
        let mut place = 0;
        for name in path.strip_prefix(root).ok()?.components() {
            let Node::Folder { now, .. } = &self.nodes[place] else { return None };
            place = *now.get(name.as_os_str())?;
        }
        Some(place)
    }

    /// The names in the folder of `path`.
    fn names(&mut self, root: &Path, path: &Path) -> Option<&mut BTreeMap<OsString, usize>> {
        let place = self.find(root, path.parent()?)?;
        match &mut self.nodes[place] {
            Node::Folder { now, .. } => Some(now),
            Node::File { .. } => None,
        }
    }

    fn put(&mut self, root: &Path, path: &Path, place: usize) {
        if let (Some(names), Some(name)) = (self.names(root, path), path.file_name()) {
            names.insert(name.to_owned(), place);
        }
    }

    fn add(&mut self, root: &Path, path: &Path, node: Node) {
        self.nodes.push(node);
        self.put(root, path, self.nodes.len() - 1);
    }

    fn remove(&mut self, root: &Path, path: &Path) {
        if let (Some(names), Some(name)) = (self.names(root, path), path.file_name()) {
            names.remove(name);
        }
    }
}

impl DiskWatch for FaultyDisk {
    fn before(&self, step: &DiskStep<'_>) -> io::Result<()> {
        let mut state = self.state.lock();
        state.steps += 1;
        let fails = match state.fault {
            Fault::OneStep => state.steps == state.fails_at,
            Fault::Crash => state.steps >= state.fails_at,
        };
        match fails {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, format!("{step:?}"))),
            false => Ok(()),
        }
    }

    fn after(&self, step: &DiskStep<'_>) {
        let mut state = self.state.lock();
        let root = &self.root;
        match step {
            DiskStep::CreateFile(path) => state.add(root, path, Node::File { synced: None }),
            DiskStep::MakeFolder(path) => {
                let folder = Node::Folder { now: BTreeMap::new(), synced: BTreeMap::new() };
                state.add(root, path, folder);
            }
            DiskStep::Write(_) => {}
            DiskStep::SyncFile(path) => {
                if let (Some(place), Ok(content)) = (state.find(root, path), std::fs::read(path)) {
                    state.nodes[place] = Node::File { synced: Some(content) };
                }
            }
            DiskStep::SyncFolder(path) => {
                if let Some(place) = state.find(root, path)
                    && let Node::Folder { now, synced } = &mut state.nodes[place]
                {
                    synced.clone_from(now);
                }
            }
            DiskStep::Link { from, to } | DiskStep::Rename { from, to } => {
                if let Some(place) = state.find(root, from) {
                    state.put(root, to, place);
                    if matches!(step, DiskStep::Rename { .. }) {
                        state.remove(root, from);
                    }
                }
            }
            DiskStep::RemoveFile(path) | DiskStep::RemoveFolder(path) => state.remove(root, path),
        }
    }
}
