//! Taking a mounted tree away: the process that serves it is told, and ends.

use std::{
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{mountpoint, stop_event, system::Event};
use crate::{
    cli::{UmountArgs, exit_code},
    failure::Failure,
};

/// How long the process that serves a tree may take to close its source.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often is looked whether it has ended.
const INTERVAL: Duration = Duration::from_millis(20);

/// Why a tree could not be unmounted.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Somebody uses it.
    Busy,
    /// Anything else, as a sentence.
    Other(String),
}

pub(crate) fn run(args: &UmountArgs) -> Result<u8, Failure> {
    let shown = args.mountpoint.display();
    let mountpoint = mountpoint::full_path(&args.mountpoint)
        .map_err(|error| Failure::io("find", &args.mountpoint, &error))?;
    match unmount(&mountpoint, args.lazy) {
        Ok(()) => Ok(exit_code::DONE),
        Err(Refused::Busy) => {
            Err(Failure::new(format!("{shown} does not end; close what is open there and try again")))
        }
        Err(Refused::Other(reason)) => Err(Failure::new(reason)),
    }
}

/// Tells the process that serves the tree on `mountpoint` to end, and, unless `lazy`, waits until it has.
pub(crate) fn unmount(mountpoint: &Path, lazy: bool) -> Result<(), Refused> {
    let shown = mountpoint.display();
    let name = stop_event::name(mountpoint);
    let event = Event::open(&name).map_err(|error| {
        Refused::Other(match error.kind() {
            io::ErrorKind::NotFound => format!("no tree of undelfs is mounted on {shown}"),
            io::ErrorKind::PermissionDenied => {
                format!(
                    "the tree on {shown} was mounted by an administrator; run the command as administrator"
                )
            }
            _ => format!("cannot unmount {shown}: {error}"),
        })
    })?;
    event.set().map_err(|error| Refused::Other(format!("cannot unmount {shown}: {error}")))?;
    // The event lives as long as a handle to it.
    drop(event);
    let until = Instant::now() + PATIENCE;
    while !lazy && Event::open(&name).is_ok() {
        if Instant::now() >= until {
            return Err(Refused::Busy);
        }
        thread::sleep(INTERVAL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_unmounted_where_nothing_is_mounted() {
        let Err(Refused::Other(reason)) = unmount(Path::new("Q:"), false) else { panic!() };
        assert!(reason.contains("no tree of undelfs"), "{reason}");
    }

    #[test]
    fn whoever_serves_is_told_and_waited_for() {
        let place = Path::new("R:");
        let event = Event::create(&stop_event::name(place)).unwrap();
        let server = thread::spawn(move || event.wait(Some(PATIENCE)).unwrap());
        unmount(place, false).unwrap();
        assert!(server.join().unwrap());
        assert!(unmount(place, false).is_err());
    }
}
