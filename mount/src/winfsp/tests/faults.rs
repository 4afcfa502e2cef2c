//! What goes wrong: the mount is ended while it is read, requests that nobody knows, a panic in a callback.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use undelfs_restore::Options;
use undelfs_source::{ReadAt, ReadError};

use super::{
    client::{Client, Handle, Request, kind, of},
    demo, mount, mount_demo,
};

const FILE: &str = r"\Documents\Thesis\notes.txt";

fn query(client: &Client, handle: &Handle) -> Result<(), u32> {
    let mut request = Request::new(kind::QUERY_INFORMATION);
    of!(request, QueryInformation, handle);
    client.answered(&request).map(drop)
}

#[test]
fn ending_the_mount_while_it_is_read_ends_every_reader_with_whole_answers() {
    for _ in 0..10 {
        let mut mounted = mount_demo();
        let handle = mounted.client.open_text(FILE).unwrap();
        let expected = mounted.client.read(&handle, 0, 4096).unwrap();
        let (reads, stopped) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                let client = mounted.client.clone();
                let (handle, expected, reads, stopped) = (&handle, &expected, &reads, &stopped);
                scope.spawn(move || {
                    loop {
                        let mut buffer = vec![0; 4096];
                        let Ok(response) = client.ask(&Client::read_request(handle, 0, &mut buffer)) else {
                            stopped.fetch_add(1, Ordering::SeqCst);
                            // The dispatcher may be writing into it at this moment.
                            std::mem::forget(buffer);
                            return;
                        };
                        assert_eq!(response.header().IoStatus.Status, 0);
                        assert!(buffer[..expected.len()] == expected[..]);
                        reads.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            while reads.load(Ordering::SeqCst) < 100 {
                thread::yield_now();
            }
            mounted.host.stop();
        });
        assert_eq!(stopped.load(Ordering::SeqCst), 8);
    }
}

#[test]
fn a_request_of_a_kind_that_nobody_knows_is_answered_and_the_mount_lives() {
    let mounted = mount_demo();
    let handle = mounted.client.open_text(FILE).unwrap();
    // INVALID_DEVICE_REQUEST for what the DLL knows and the back end does not, and what it does not know itself.
    for kind in [0, 9, 16, 17, 18, 22, 23, 99, 0xFFFF_FFFF] {
        let status = mounted.client.answered(&Request::new(kind)).err();
        assert!(status.is_some_and(|status| status >> 30 == 3), "kind {kind}: {status:x?}");
        query(&mounted.client, &handle).unwrap();
    }
    let mut request = Request::new(kind::SET_INFORMATION);
    of!(request, SetInformation, handle).FileInformationClass = 77;
    assert!(mounted.client.answered(&request).is_err());
    query(&mounted.client, &handle).unwrap();
    mounted.client.close(&handle);
}

/// An image whose reader panics while `armed`.
struct Panicking {
    image: Vec<u8>,
    armed: Arc<AtomicBool>,
}

impl ReadAt for Panicking {
    fn size(&self) -> u64 {
        self.image.size()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ReadError> {
        assert!(!self.armed.load(Ordering::SeqCst), "planted");
        self.image.read_at(buf, offset)
    }
}

#[test]
fn a_panic_in_a_callback_is_answered_and_the_mount_lives() {
    let armed = Arc::new(AtomicBool::new(false));
    let source = Panicking { image: demo(), armed: armed.clone() };
    let mounted = mount(Arc::new(source), &Options::default());
    let client = &mounted.client;
    let handle = client.open_text(FILE).unwrap();
    armed.store(true, Ordering::SeqCst);
    // More often than there are threads: none of them is lost.
    for _ in 0..50 {
        let status = client.read(&handle, 0, 4096).unwrap_err();
        // STATUS_NONCONTINUABLE_EXCEPTION
        assert_eq!(status, 0xC000_0025);
        query(client, &handle).unwrap();
    }
    armed.store(false, Ordering::SeqCst);
    assert_eq!(client.read(&handle, 0, 1 << 20).unwrap().len() as u64, handle.facts.size);
    client.close(&handle);
}
