//! The steps on real files with real stores, and beside them the model.

use super::model::{Answer, Model, Reply};
use super::{CACHES, FILES, Settings, Spelling, Step, Way};
use crate::scratch::{self, RunFolder};
use seawall::{Builder, Cache, Error, JournalMode, Os, Registry, Store, SystemOs};
use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

thread_local! {
    static FOLDER: RefCell<Option<Folder>> = const { RefCell::new(None) };
}

/// The folder of a thread: made once, emptied before each case.
struct Folder {
    dir: RunFolder,
    /// The path to it from the working directory.
    relative: PathBuf,
}

impl Folder {
    fn new() -> io::Result<Self> {
        let dir = RunFolder::create_in(&scratch::default_folder())?;
        // Canonical paths are compared.
        let path = fs::canonicalize(dir.path())?;
        let up = std::env::current_dir()?.ancestors().skip(1).map(|_| "..").collect::<PathBuf>();
        let relative = up.join(path.strip_prefix("/").unwrap_or(&path));
        for folder in ["a", "b"] {
            fs::create_dir(path.join(folder))?;
        }
        Ok(Self { dir, relative })
    }

    fn clear(&self) -> io::Result<()> {
        for folder in ["a", "b"] {
            for entry in fs::read_dir(self.dir.path().join(folder))? {
                fs::remove_file(entry?.path())?;
            }
        }
        redirect(self.dir.path(), "a")?;
        for file in 0..FILES {
            symlink(format!("{file}.db"), self.dir.path().join(format!("a/{file}.link")))?;
        }
        Ok(())
    }
}

/// Redirects the symbolic link of the folder.
fn redirect(folder: &Path, to: &str) -> io::Result<()> {
    let link = folder.join("link");
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => symlink(to, link),
    }
}

/// The machine's own files, and a process id that a fork changes.
struct ForkingOs {
    system: SystemOs,
    pid: AtomicU32,
}

/// See the module's documentation.
pub(super) struct RegistryRun {
    folder: PathBuf,
    relative: PathBuf,
    os: Arc<ForkingOs>,
    registry: Arc<Registry>,
    /// How many connections there have been.
    connects: Arc<AtomicU32>,
    /// In the order of the model's.
    stores: Vec<Store>,
    caches: [Option<Cache>; CACHES],
    model: Model,
}

impl RegistryRun {
    pub(super) fn new(ignores_links: bool) -> io::Result<Self> {
        let (folder, relative) = FOLDER.with_borrow_mut(|folder| {
            let folder = match folder {
                Some(folder) => folder,
                empty => empty.insert(Folder::new()?),
            };
            folder.clear()?;
            io::Result::Ok((fs::canonicalize(folder.dir.path())?, folder.relative.clone()))
        })?;
        let os = Arc::new(ForkingOs { system: SystemOs::new(), pid: AtomicU32::new(1) });
        let (registry, connects, stores, caches) = (Registry::new(), Arc::default(), Vec::new(), Default::default());
        Ok(Self { folder, relative, os, registry, connects, stores, caches, model: Model::new(ignores_links) })
    }

    /// Performs a step: the reply, and the reply of the model. `None` if there was no store for it.
    pub(super) fn step(&mut self, step: Step) -> io::Result<Option<(Reply, Reply)>> {
        let (answer, expected) = match step {
            Step::Open { spelling, settings } => self.open(&self.path(spelling), settings),
            Step::Call { store } => match self.nth(store) {
                Some(nth) => (self.answer(|run| run.stores[nth].with_connection(|_| Ok(()))), self.model.call(nth)),
                None => return Ok(None),
            },
            Step::Close { store } => match self.nth(store) {
                Some(nth) => self.close(nth),
                None => return Ok(None),
            },
            Step::Drop { store } => match self.nth(store).filter(|nth| self.is_own(*nth)) {
                Some(nth) => {
                    drop(self.stores.remove(nth));
                    self.model.drop_store(nth);
                    (Answer::Done, Answer::Done)
                }
                None => return Ok(None),
            },
            Step::CallCache { cache, spelling } => self.call_cache(cache, &self.path(spelling)),
            Step::CloseInCache { cache, spelling } => self.close_in_cache(cache, &self.path(spelling)),
            // What a cache of the parent holds stays open in the child.
            Step::DropCache { .. } if self.model.pid != 1 => return Ok(None),
            Step::DropCache { cache } => {
                drop(self.caches[cache].take());
                self.model.drop_cache(cache);
                (Answer::Done, Answer::Done)
            }
            Step::Fork => {
                self.os.pid.store(2, Ordering::Relaxed);
                self.model.pid = 2;
                (Answer::Done, Answer::Done)
            }
            Step::Rename { .. } | Step::Unlink(_) | Step::Link(_) | Step::Redirect => {
                self.change_files(step)?;
                (Answer::Done, Answer::Done)
            }
        };
        Ok(Some((Reply { answer, open: self.registry.paths() }, self.model.reply(expected))))
    }

    /// Closes everything, each process its own.
    pub(super) fn end(self) {
        for pid in [1, 2] {
            self.os.pid.store(pid, Ordering::Relaxed);
            // Closing a file that was moved returns an error, and closes it.
            for cache in self.caches.iter().flatten() {
                let _ = cache.close_all();
            }
            for store in &self.stores {
                let _ = store.close(Duration::ZERO);
            }
        }
    }

    fn open(&mut self, path: &Path, settings: Settings) -> (Answer, Answer) {
        let answer = self.answer(|run| {
            let builder = run.builder();
            let builder = match settings {
                Settings::Usual => builder,
                Settings::Other => builder.busy_timeout(Duration::from_millis(1)),
            };
            run.stores.push(builder.open(path)?);
            Ok(())
        });
        (answer, self.model.open(path, settings))
    }

    fn close(&mut self, nth: usize) -> (Answer, Answer) {
        let answer = match self.answer(|run| run.stores[nth].close(Duration::ZERO).map(drop)) {
            // Closing connects to nothing.
            Answer::Shared => Answer::Done,
            answer => answer,
        };
        (answer, self.model.close(nth))
    }

    fn call_cache(&mut self, cache: usize, path: &Path) -> (Answer, Answer) {
        if self.caches[cache].is_none() {
            self.caches[cache] = Some(self.builder().build());
        }
        let answer = self.answer(|run| match &run.caches[cache] {
            Some(cache) => cache.with_connection(path, |_| Ok(())),
            None => Ok(()),
        });
        (answer, self.model.call_cache(cache, path))
    }

    fn close_in_cache(&mut self, cache: usize, path: &Path) -> (Answer, Answer) {
        let answer = match self.answer(|run| run.caches[cache].as_ref().map_or(Ok(()), |cache| cache.close(path))) {
            Answer::Shared => Answer::Done,
            answer => answer,
        };
        (answer, self.model.close_in_cache(cache, path))
    }

    fn change_files(&self, step: Step) -> io::Result<()> {
        let plain = |file| self.path(Spelling { file, way: Way::Plain });
        let result = match step {
            Step::Rename { from, to } => fs::rename(self.path(from), self.path(to)),
            Step::Unlink(spelling) => fs::remove_file(self.path(spelling)),
            Step::Link(file) => fs::hard_link(plain(file), self.path(Spelling { file, way: Way::SecondName })),
            Step::Redirect => {
                let link = fs::read_link(self.folder.join("link"))?;
                redirect(&self.folder, if link == Path::new("a") { "b" } else { "a" })
            }
            _ => Ok(()),
        };
        match result {
            // There was nothing, or something was there already: then nothing happens.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => Ok(()),
            result => result,
        }
    }

    fn builder(&self) -> Builder {
        let connects = Arc::clone(&self.connects);
        Store::builder()
            .registry(Arc::clone(&self.registry))
            .os(Arc::clone(&self.os) as Arc<dyn Os>)
            // Opening writes nothing, so it costs little.
            .journal_mode(JournalMode::Keep)
            .first_connect_wait(None)
            .identity_check_interval(Duration::ZERO)
            .on_connect(move |_| {
                connects.fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
    }

    /// How a call ended, by its error or by the connections that it made.
    fn answer(&mut self, call: impl FnOnce(&mut Self) -> Result<(), Error>) -> Answer {
        let before = self.connects.load(Ordering::Relaxed);
        let result = call(self);
        let connected = self.connects.load(Ordering::Relaxed) - before;
        let Err(error) = result else {
            return if connected == 0 { Answer::Shared } else { Answer::Fresh };
        };
        let message = error.to_string();
        if error.is_moved() {
            Answer::Moved
        } else if error.is_closed() {
            Answer::Closed
        } else if message.contains("another setting") {
            Answer::OtherSettings
        } else if message.contains("another name") {
            Answer::HardLinked
        } else if message.contains("forked") {
            Answer::Forked
        } else {
            panic!("an unexpected error: {message}")
        }
    }

    fn path(&self, Spelling { file, way }: Spelling) -> PathBuf {
        let name = format!("{file}.db");
        match way {
            Way::Plain => self.folder.join("a").join(name),
            Way::Dots => PathBuf::from(format!("{}/./a//./{name}", self.folder.display())),
            Way::Back => self.folder.join("b/../a").join(name),
            Way::LinkedFolder => self.folder.join("link").join(name),
            Way::LinkedFile => self.folder.join(format!("a/{file}.link")),
            Way::SecondName => self.folder.join(format!("a/{file}.second")),
            Way::Relative => self.relative.join("a").join(name),
        }
    }

    fn nth(&self, back: usize) -> Option<usize> {
        self.stores.len().checked_sub(back + 1)
    }

    fn is_own(&self, nth: usize) -> bool {
        self.model.pid_of(self.model.stores[nth]) == self.model.pid
    }
}

impl Os for ForkingOs {
    fn base(&self) -> Option<&dyn Os> {
        Some(&self.system)
    }

    fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }
}
