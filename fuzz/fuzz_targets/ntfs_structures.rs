//! Every structure of NTFS that is parsed from bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use undelfs_ntfs::{
    attribute::Form, boot_sector::BootSector, record::Record, reparse_point, runs::Runs, structures,
    upcase::UpCase,
};

fuzz_target!(|data: &[u8]| {
    let _ = BootSector::parse(data, 0);
    for run in Runs::new(data, 0, 1 << 32) {
        let Ok(run) = run else { break };
        assert!(run.count > 0);
    }
    let _ = structures::StandardInformation::parse(data);
    let _ = structures::FileName::parse(data);
    let _ = structures::VolumeInformation::parse(data);
    let _ = structures::attribute_list(data);
    let _ = reparse_point::link_target(data);
    let _ = reparse_point::interix_target(data);
    let _ = UpCase::parse(data);
    let mut record = data.to_vec();
    if let Some(record) = Record::parse(&mut record) {
        for attribute in record.attributes() {
            let _ = attribute.name();
            if let Some(Form::NonResident(form)) = attribute.form() {
                let _ = Runs::new(form.mapping_pairs, form.lowest_vcn, 1 << 32).count();
            }
        }
    }
});
