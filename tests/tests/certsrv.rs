use undelfs_tests::certsrv::Maker;
#[test]
fn dump() {
    let made = Maker::new(1).make();
    made.write_folder(std::path::Path::new("/tmp/cx/mk/f"));
    made.write_set(std::path::Path::new("/tmp/cx/mk/s"), ["a", "b", "c"]);
}
