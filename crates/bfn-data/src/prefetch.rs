//! A pure function of the step, evaluated ahead on background threads.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// An iterator over f(start), f(start + 1), …, whose items are computed ahead of their use.
///
/// The items come in the order of the steps, whatever the number of threads. Since f is a pure function of the step,
/// the threads change when an item is computed but never its value. An error is an item like any other (let f return
/// a `Result`); a panic in f is raised again in the thread that asks for the item. Dropping the iterator ends its
/// threads.
pub struct Prefetch<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
    waited: Duration,
}

struct Shared<T> {
    make: Box<Make<T>>,
    depth: u64,
    end: u64,
    state: Mutex<State<T>>,
    /// Notified when an item is ready, or when the consumer has taken one or gone away.
    changed: Condvar,
}

/// A function from a step, and perhaps a used item whose memory can be reused, to the step's item.
type Make<T> = dyn Fn(u64, Option<T>) -> T + Send + Sync;

struct State<T> {
    /// The next step that a thread will compute.
    next_made: u64,
    /// The next step whose item the consumer will get.
    next_given: u64,
    ready: BTreeMap<u64, Result<T, Box<dyn Any + Send>>>,
    /// Used items, whose memory can be reused.
    spare: Vec<T>,
    stopped: bool,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Computes `make` for the given steps, at most `depth` (at least 1) items ahead of the consumer.
    ///
    /// With 0 threads, or if the system grants none, each item is computed when it is asked for.
    /// An endless run is `start..u64::MAX`.
    pub fn new(
        steps: Range<u64>,
        threads: usize,
        depth: usize,
        make: impl Fn(u64) -> T + Send + Sync + 'static,
    ) -> Self {
        Self::recycling(steps, threads, depth, move |step, _| make(step))
    }

    /// Computes items as `new` does, but can reuse the memory of used items.
    ///
    /// If an item has been handed back by [`Self::recycle`], `make` is also given that item, to reuse its memory. The
    /// content of a used item must not affect the result.
    pub fn recycling(
        steps: Range<u64>,
        threads: usize,
        depth: usize,
        make: impl Fn(u64, Option<T>) -> T + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            make: Box::new(make),
            depth: depth.max(1) as u64,
            end: steps.end,
            state: Mutex::new(State {
                next_made: steps.start,
                next_given: steps.start,
                ready: BTreeMap::new(),
                spare: Vec::new(),
                stopped: false,
            }),
            changed: Condvar::new(),
        });
        // A thread that cannot be started costs speed, not data.
        let threads = (0..threads)
            .map_while(|_| {
                let shared = Arc::clone(&shared);
                let builder = Builder::new().name("bfn-data".to_owned());
                builder.spawn(move || shared.work()).ok()
            })
            .collect();
        Self { shared, threads, waited: Duration::ZERO }
    }
}

impl<T> Prefetch<T> {
    /// Hands back a used item so that its memory can be reused.
    pub fn recycle(&self, item: T) {
        self.shared.lock().spare.push(item);
    }

    /// Returns how long the consumer has waited for items in total.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let asked = Instant::now();
        let item = if self.threads.is_empty() { self.shared.take_alone() } else { self.shared.take() };
        self.waited += asked.elapsed();
        match item? {
            Ok(item) => Some(item),
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // Panics of f are caught and passed on as items, so the thread itself does not panic.
            let _ = thread.join();
        }
    }
}

impl<T> Shared<T> {
    /// Runs a background thread: computes step after step until the end.
    fn work(&self) {
        while let Some(step) = self.next_step() {
            let spare = self.lock().spare.pop();
            let item = catch_unwind(AssertUnwindSafe(|| (self.make)(step, spare)));
            self.lock().ready.insert(step, item);
            self.changed.notify_all();
        }
    }

    /// Returns the next step to compute, once it is near enough, or `None` when the work is over.
    fn next_step(&self) -> Option<u64> {
        let mut state = self.lock();
        loop {
            let step = state.next_made;
            if state.stopped || step >= self.end {
                return None;
            }
            if step - state.next_given < self.depth {
                state.next_made += 1;
                return Some(step);
            }
            state = self.wait(state);
        }
    }

    fn take(&self) -> Option<Result<T, Box<dyn Any + Send>>> {
        let mut state = self.lock();
        loop {
            let step = state.next_given;
            if state.stopped || step >= self.end {
                return None;
            }
            if let Some(item) = state.ready.remove(&step) {
                state.next_given += 1;
                state.stopped = item.is_err();
                drop(state);
                self.changed.notify_all();
                return Some(item);
            }
            state = self.wait(state);
        }
    }

    /// Does the work of `take` on the consumer's own thread.
    fn take_alone(&self) -> Option<Result<T, Box<dyn Any + Send>>> {
        let step = self.next_step()?;
        let spare = self.lock().spare.pop();
        let item = catch_unwind(AssertUnwindSafe(|| (self.make)(step, spare)));
        let mut state = self.lock();
        state.next_given += 1;
        state.stopped = item.is_err();
        Some(item)
    }

    /// Locks the state. No thread panics while it holds the lock, so even a poisoned lock guards a valid state.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Prefetch<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Prefetch")
            .field("threads", &self.threads.len())
            .field("depth", &self.shared.depth)
            .field("waited", &self.waited)
            .finish_non_exhaustive()
    }
}
