//! Standard output: buffered, and quiet about a reader that has seen enough.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use crate::{cli::exit_code, failure::Failure};

/// Buffered standard output that remembers why it could not be written.
#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<StdoutLock<'static>>,
    error: Option<io::Error>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { out: BufWriter::with_capacity(256 << 10, io::stdout().lock()), error: None }
    }

    /// Whether a person reads it.
    pub(crate) fn terminal() -> bool {
        io::stdout().is_terminal()
    }

    /// Ends the output: the exit code of a command whose whole work `result` was. A pipe whose reader went away,
    /// as `head` does, is success.
    pub(crate) fn finish<E: Into<Failure>>(mut self, result: Result<(), E>) -> Result<u8, Failure> {
        let flushed = self.flush();
        // What could not be written has its own sentence here, however the writer wrapped the error.
        match self.error.take().or_else(|| flushed.err()) {
            Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(exit_code::DONE),
            Some(error) => Err(write_failure(&error)),
            None => result.map(|()| exit_code::DONE).map_err(Into::into),
        }
    }

    fn watch<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let (Err(error), None) = (&result, &self.error) {
            self.error = Some(match error.raw_os_error() {
                Some(number) => io::Error::from_raw_os_error(number),
                None => error.kind().into(),
            });
        }
        result
    }
}

/// The failure of a write to standard output.
pub(crate) fn write_failure(error: &io::Error) -> Failure {
    Failure::new(format!("cannot write to standard output: {error}"))
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let result = self.out.write(buf);
        self.watch(result)
    }

    fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        let result = self.out.write_all(buf);
        self.watch(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.watch(result)
    }
}
