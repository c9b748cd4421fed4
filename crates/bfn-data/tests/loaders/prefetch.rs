//! The background threads change when an item is made, never its content.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use bfn_data::{Batch, Batches, Prefetch, Purpose, Seed, Split, digits};

#[test]
fn items_come_in_order_whatever_the_threads_and_depth() {
    for threads in 0..5 {
        for depth in [0, 1, 2, 7] {
            let make = |step: u64| {
                // Some items take longer, so that threads overtake each other.
                let pause = Seed(1).stream(Purpose::Other(0), step, 0).below(300);
                sleep(Duration::from_micros(pause));
                step * step
            };
            let items: Vec<u64> = Prefetch::new(5..40, threads, depth, make).collect();
            let expected: Vec<u64> = (5..40).map(|step| step * step).collect();
            assert_eq!(items, expected, "{threads} threads, depth {depth}");
        }
    }
}

#[test]
fn batches_do_not_depend_on_the_threads() {
    let data = Arc::new(digits(Split::Train).unwrap());
    let batches = Batches::new(data, Seed(3), 100).unwrap();
    for threads in [0, 1, 4] {
        let of_thread = batches.clone();
        let ahead = Prefetch::new(7..37, threads, 3, move |step| of_thread.batch(step));
        for (batch, step) in ahead.zip(7..) {
            assert_eq!(batch.unwrap(), batches.batch(step).unwrap(), "step {step}, {threads} threads");
        }
    }
}

/// Later batches reuse the memory of returned batches, and their content is unchanged.
#[test]
fn batches_are_made_in_the_memory_of_used_ones() {
    let data = Arc::new(digits(Split::Train).unwrap());
    let batches = Batches::new(data, Seed(3), 100).unwrap();
    for threads in [0, 1, 3] {
        let of_thread = batches.clone();
        let mut ahead = Prefetch::recycling(0..50, threads, 2, move |step, spare| {
            let mut batch = spare.unwrap_or_else(Batch::empty);
            of_thread.fill(step, &mut batch).unwrap();
            batch
        });
        let mut memories = HashSet::new();
        for step in 0..50 {
            let batch = ahead.next().unwrap();
            assert_eq!(batch, batches.batch(step).unwrap());
            memories.insert(batch.values.bytes().as_ptr() as usize);
            ahead.recycle(batch);
        }
        assert!(memories.len() <= 1 + 2 + threads, "{} buffers for {threads} threads", memories.len());
    }
}

#[test]
fn no_more_than_the_depth_is_made_ahead() {
    let made = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&made);
    let mut items = Prefetch::new(0..u64::MAX, 3, 4, move |step| {
        counter.fetch_add(1, Ordering::SeqCst);
        step
    });
    assert_eq!(items.next(), Some(0));
    sleep(Duration::from_millis(50));
    let made = made.load(Ordering::SeqCst);
    assert!((1..=5).contains(&made), "{made} items made for 1 taken");
}

#[test]
fn dropping_ends_the_threads() {
    let made = Arc::new(AtomicU64::new(0));
    for threads in [1, 4] {
        let counter = Arc::clone(&made);
        let mut items = Prefetch::new(0..u64::MAX, threads, 8, move |step| {
            counter.fetch_add(1, Ordering::SeqCst);
            step
        });
        assert_eq!(items.next(), Some(0));
        drop(items);
        // The threads have ended, and have dropped the function and everything it held.
        assert_eq!(Arc::strong_count(&made), 1);
    }
}

#[test]
fn an_error_is_an_item() {
    let make = |step| if step == 3 { Err("broken") } else { Ok(step) };
    let items: Vec<Result<u64, &str>> = Prefetch::new(0..6, 2, 2, make).collect();
    assert_eq!(items, [Ok(0), Ok(1), Ok(2), Err("broken"), Ok(4), Ok(5)]);
}

#[test]
fn a_panic_reaches_the_consumer_at_its_step() {
    for threads in [0, 1, 3] {
        let mut items = Prefetch::new(0..10, threads, 4, |step| {
            assert!(step != 2, "step 2 is broken");
            step
        });
        assert_eq!((items.next(), items.next()), (Some(0), Some(1)));
        let panic = catch_unwind(AssertUnwindSafe(|| items.next())).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"step 2 is broken"));
        assert_eq!(items.next(), None);
    }
}

#[test]
fn waiting_is_measured() {
    let mut items = Prefetch::new(0..2, 1, 1, |step| {
        sleep(Duration::from_millis(20));
        step
    });
    items.next();
    assert!(items.waited() > Duration::from_millis(10));
}
