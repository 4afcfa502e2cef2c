//! Windows: WinFsp, console events, handles.

pub(crate) mod interrupt;
pub(crate) mod mounting;
pub(crate) mod mountpoint;
pub(crate) mod place;
pub(crate) mod secrets;
mod stop_event;
mod system;
pub(crate) mod unmounting;

pub(crate) use crate::winfsp::Settings;
pub(crate) use system::user_sid;

/// What WinFsp's licence asks of free software that uses it.
pub(crate) const NOTICE: &str = "
Mounting uses WinFsp - Windows File System Proxy, Copyright (C) Bill Zissimopoulos, https://github.com/winfsp/winfsp";

/// What to try on the mounted demo.
pub(crate) const DEMO_ADVICE: &str = "\
    \u{20}   dir /s {}\\\n\
    \u{20}   robocopy {}\\ %TEMP%\\rescued /e\n\
    \u{20}   dir /s /r {}\\               & rem each file says how sure it is in its stream :undelfs\n\
    \u{20}   type {}\\.undelfs\\report.txt\n";
