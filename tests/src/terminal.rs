//! Programs that ask somebody at a terminal.

use std::{
    io::{Read, Write},
    process::Stdio,
    thread,
    time::Duration,
};

use crate::tools;

/// Runs a command line on a terminal of its own, gives an answer whenever what it has said ends in `prompt`, and returns
/// all that could be seen.
pub fn answer(command: &str, prompt: &str, answers: &[&str]) -> String {
    let mut child = tools::tool("script")
        .args(["--quiet", "--return", "--command", command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("script");
    let mut input = child.stdin.take().expect("its input");
    let mut output = child.stdout.take().expect("its output");
    let mut seen = String::new();
    let mut answers = answers.iter();
    let mut piece = [0; 4096];
    while let Ok(len @ 1..) = output.read(&mut piece) {
        seen.push_str(&String::from_utf8_lossy(&piece[..len]));
        if seen.trim_end().ends_with(prompt)
            && let Some(answer) = answers.next()
        {
            // The terminal drops what is typed before it stops to show it.
            thread::sleep(Duration::from_millis(300));
            input.write_all(format!("{answer}\n").as_bytes()).expect("an answer");
        }
    }
    drop(input);
    child.wait().expect("its end");
    seen
}
