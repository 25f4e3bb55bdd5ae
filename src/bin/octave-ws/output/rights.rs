//! What a file keeps of the one that it replaces: who owns it, and who else may read it.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::{XattrFlags, fsetxattr, getxattr};

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
pub(super) fn give_acl(file: &File, before: &Path) -> io::Result<()> {
    let mut list = [0; MAX_ACL];
    // Not every file, nor every file system, has one.
    let Ok(length) = getxattr(before, ACL, &mut list) else {
        return Ok(());
    };
    if fsetxattr(file, ACL, &list[..length], XattrFlags::empty()).is_err() {
        let mode = file.metadata()?.permissions().mode() & !GROUP;
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

const GROUP: u32 = 0o070;

const ACL: &str = "system.posix_acl_access";

/// Room for 500 entries of eight bytes.
const MAX_ACL: usize = 4096;
