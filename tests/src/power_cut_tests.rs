//! The disk whose power can be cut. Not beside it: the store's own tests take that file in.

use std::fs::File;
use std::io::Write;

use crate::power_cut::Disk;

#[test]
fn a_power_cut_keeps_what_was_synced_and_loses_the_rest() {
    let mut disk = match Disk::new() {
        Ok(disk) => disk,
        Err(no_disk) => return crate::settings::skipped("power_cut", &no_disk.reason),
    };
    let (kept, lost) = (
        disk.mount_point().join("kept"),
        disk.mount_point().join("lost"),
    );
    let mut file = File::create(&kept).unwrap();
    file.write_all(b"kept").unwrap();
    file.sync_all().unwrap();
    File::open(disk.mount_point()).unwrap().sync_all().unwrap();
    std::fs::write(&lost, b"lost").unwrap();
    disk.cut_power();
    assert!(
        file.write_all(b"more")
            .and_then(|()| file.sync_all())
            .is_err()
    );
    drop(file);
    disk.power_up();
    assert_eq!(std::fs::read(&kept).unwrap(), b"kept");
    assert_ne!(std::fs::read(&lost).unwrap_or_default(), b"lost");
}
