//! Copies the owner and the permissions of a file to its replacement.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::{XattrFlags, fsetxattr, getxattr};

/// Returns the permissions alone: neither set-uid and its like nor the kind of the file.
pub(super) fn mode(of: &Metadata) -> u32 {
    of.permissions().mode() & 0o777
}

/// Gives a file that is begun what does not depend on the user that owns it.
pub(super) fn give(file: &File, whole: &Path, before: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if before.gid() != own.gid() {
        // The permissions are meant for this group.
        let _ = fchown(file, None, Some(before.gid()));
    }
    // On a file system without permissions of its own they cannot be set.
    if mode(before) != mode(&own) {
        file.set_permissions(Permissions::from_mode(mode(before)))?;
    }
    give_acl(file, whole)
}

/// Gives the file the owner and the group of the one before, as far as the process may.
pub(super) fn give_owner(file: &File, whole: &Path, before: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    let owner = |found: &Metadata| (found.uid(), found.gid());
    if owner(&own) == owner(before) {
        return Ok(());
    }
    // To keep the group alone takes less than to keep both.
    let (uid, gid) = (Some(before.uid()), Some(before.gid()));
    let kept = fchown(file, uid, gid).or_else(|_| fchown(file, None, gid));
    log::debug!("output: owner and group of the file before: {kept:?}");
    let own = file.metadata()?;
    if owner(&own) != owner(before) {
        let [from, to] = [before, &own].map(|of| format!("{}:{}", of.uid(), of.gid()));
        let whole = whole.display();
        log::warn!("output: {whole}: the owner changes from {from} to {to}");
    }
    Ok(())
}

/// Gives a file the access control list of the one before. Without it, the list's mask would be what
/// the group may.
fn give_acl(file: &File, before: &Path) -> io::Result<()> {
    let mut list = [0; MAX_ACL];
    // Not every file, nor every file system, has one.
    let Ok(length) = getxattr(before, ACL, &mut list) else {
        return Ok(());
    };
    if fsetxattr(file, ACL, &list[..length], XattrFlags::empty()).is_err() {
        let mode = mode(&file.metadata()?) & !GROUP;
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

const GROUP: u32 = 0o070;

const ACL: &str = "system.posix_acl_access";

/// Room for 500 entries of eight bytes.
const MAX_ACL: usize = 4096;
