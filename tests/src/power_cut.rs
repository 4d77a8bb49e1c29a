//! A disk whose power can be cut: an ext4 in a file, loop-mounted, shut down by its own ioctl. From then on
//! it holds what had reached the disk, and nothing else. Needs root. The only file of this crate with
//! `unsafe` in it. The store's own tests take this file in, so it uses nothing else of this crate.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// `EXT4_IOC_SHUTDOWN` is `_IOR('X', 125, __u32)` (Linux, `fs/ext4/ext4.h`); rustix wants it as the number.
const SHUTDOWN: rustix::ioctl::Opcode = 0x8004_587d;

/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: stop at once, without writing the journal out. That is a power cut.
const NO_LOG_FLUSH: u32 = 2;

/// Room for the store of one run, its segments and the gateway's reserve file; sparse, so it costs what is
/// written.
const SIZE: u64 = 1 << 30;

/// The disk, mounted.
#[derive(Debug)]
pub struct Disk {
    home: TempDir,
    mounted: bool,
    read_only: bool,
}

/// Why there is no such disk here.
#[derive(Debug)]
pub struct NoDisk {
    /// For people.
    pub reason: String,
}

impl Disk {
    /// Makes and mounts a disk.
    ///
    /// # Errors
    /// When this machine or this user can not: then the test is skipped, by name.
    pub fn new() -> Result<Self, NoDisk> {
        Self::of(SIZE)
    }

    /// The same with so many bytes.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(size: u64) -> Result<Self, NoDisk> {
        if !rustix::process::geteuid().is_root() {
            return Err(NoDisk {
                reason: "mounting a disk needs root".to_owned(),
            });
        }
        let home = TempDir::with_prefix("hookmill-disk-").map_err(|error| NoDisk {
            reason: format!("no temporary directory: {error}"),
        })?;
        let mut disk = Self {
            home,
            mounted: false,
            read_only: false,
        };
        let image = File::create(disk.image()).and_then(|image| image.set_len(size));
        image
            .and_then(|()| std::fs::create_dir(disk.mount_point()))
            .map_err(|error| NoDisk {
                reason: format!("no image: {error}"),
            })?;
        run(Command::new("mkfs.ext4").arg("-q").arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn mount_point(&self) -> PathBuf {
        self.home.path().join("mnt")
    }

    /// Cuts the power: every write from now on fails, and what was not on the disk never gets there.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn cut_power(&self) {
        let root = File::open(self.mount_point()).expect("the mount point can be opened");
        shut_down(&root);
    }

    /// Takes it off and mounts it anew, which plays back the journal, as a machine does that comes up again.
    ///
    /// # Panics
    /// When it can not be mounted: a power cut never destroys an ext4.
    pub fn power_up(&mut self) {
        self.unmount();
        if let Err(no_disk) = self.mount() {
            panic!("mounted before, but: {}", no_disk.reason);
        }
    }

    /// Mounts it anew, so that it can be read only or written again. Nothing may be open on it.
    ///
    /// # Panics
    /// When it can not be mounted.
    pub fn set_read_only(&mut self, read_only: bool) {
        self.read_only = read_only;
        self.power_up();
    }

    fn image(&self) -> PathBuf {
        self.home.path().join("image")
    }

    fn mount(&mut self) -> Result<(), NoDisk> {
        let options = if self.read_only { "loop,ro" } else { "loop" };
        run(Command::new("mount")
            .args(["-o", options])
            .arg(self.image())
            .arg(self.mount_point()))?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) {
        if let Err(no_disk) = run(Command::new("umount").arg(self.mount_point())) {
            panic!("{}", no_disk.reason);
        }
        self.mounted = false;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // Lazy, because a failing test may leave files open; the loop device goes with the last of them.
            // There is nobody left to tell if it fails.
            let _ = run(Command::new("umount").arg("--lazy").arg(self.mount_point()));
        }
    }
}

pub(crate) fn run(command: &mut Command) -> Result<(), NoDisk> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(NoDisk {
            reason: format!(
                "{command:?}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ),
        }),
        Err(error) => Err(NoDisk {
            reason: format!("{command:?}: {error}"),
        }),
    }
}

#[expect(
    unsafe_code,
    reason = "the shutdown of a mounted ext4 is an ioctl without a safe wrapper; it reads one u32 and writes no memory"
)]
fn shut_down(root: &File) {
    // SAFETY: EXT4_IOC_SHUTDOWN takes a pointer to a u32 that it only reads, which is what a setter passes,
    // and `root` is an open file for the whole call.
    let done = unsafe {
        rustix::ioctl::ioctl(
            root,
            rustix::ioctl::Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH),
        )
    };
    done.expect("ext4 takes its shutdown ioctl from root");
}
