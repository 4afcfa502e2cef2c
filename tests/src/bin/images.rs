//! Makes the images that are kept.
//!
//! Usage: `images demo FILE` writes the bundled image, compressed; `images bench DIR` makes the benchmarks' images
//! where they are missing and prints their paths.

use std::path::Path;

use undelfs_tests::{big, demo};

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["demo", file] => println!("{} bytes", demo::bundle(Path::new(file))),
        ["bench", dir] => {
            println!("{}", big::many_files(Path::new(dir), 3000).display());
            println!("{}", big::many_files(Path::new(dir), 2).display());
            println!("{}", big::large_file(Path::new(dir)).display());
        }
        _ => return Err("usage: images demo FILE | images bench DIR".into()),
    }
    Ok(())
}
