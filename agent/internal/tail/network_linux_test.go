package tail_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/streamkit/streamkit/agent/internal/tail"
)

// Which file systems are polled: those of which no events come, or not all, and whose
// inode numbers another machine gives.
func TestNetworkKinds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		magic int64
		kind  string // "": events are believed
	}{
		{"NFS", unix.NFS_SUPER_MAGIC, "nfs"},
		{"SMB", unix.SMB_SUPER_MAGIC, "smb"},
		{"CIFS", unix.CIFS_SUPER_MAGIC, "cifs"},
		{"SMB 2 and 3", unix.SMB2_SUPER_MAGIC, "smb2"},
		{"CIFS as a machine with 32 bits has it", unix.CIFS_SUPER_MAGIC - 1<<32, "cifs"},
		{"FUSE, as sshfs and s3fs", unix.FUSE_SUPER_MAGIC, "fuse"},
		{"Plan 9, as of virtual machines", unix.V9FS_MAGIC, "9p"},
		{"AFS of OpenAFS", unix.AFS_SUPER_MAGIC, "afs"},
		{"AFS of the kernel", unix.AFS_FS_MAGIC, "afs"},
		{"Ceph", unix.CEPH_SUPER_MAGIC, "ceph"},
		{"Coda", unix.CODA_SUPER_MAGIC, "coda"},
		{"OCFS2", unix.OCFS2_SUPER_MAGIC, "ocfs2"},
		{"Lustre", 0x0bd00bd0, "lustre"},
		{"GPFS", 0x47504653, "gpfs"},
		{"GFS2", 0x01161970, "gfs2"},
		{"BeeGFS", 0x19830326, "beegfs"},
		{"shared folders of VirtualBox", 0x786f4256, "vboxsf"},
		{"shared folders of VMware", 0xbacbacbc, "vmhgfs"},
		{"proc", unix.PROC_SUPER_MAGIC, "proc"},
		{"sysfs", unix.SYSFS_MAGIC, "sysfs"},

		{"ext4", unix.EXT4_SUPER_MAGIC, ""},
		{"XFS", unix.XFS_SUPER_MAGIC, ""},
		{"Btrfs", unix.BTRFS_SUPER_MAGIC, ""},
		{"ZFS", 0x2fc12fc1, ""},
		{"F2FS", unix.F2FS_SUPER_MAGIC, ""},
		{"Bcachefs", unix.BCACHEFS_SUPER_MAGIC, ""},
		{"ReiserFS", unix.REISERFS_SUPER_MAGIC, ""},
		{"overlay of containers", unix.OVERLAYFS_SUPER_MAGIC, ""},
		{"tmpfs", unix.TMPFS_MAGIC, ""},
		{"ramfs", unix.RAMFS_MAGIC, ""},
		{"eCryptfs", unix.ECRYPTFS_SUPER_MAGIC, ""},
		{"squashfs", unix.SQUASHFS_MAGIC, ""},
		{"one that nobody knows", 0x12345678, ""},
	} {
		if got := tail.NetworkKind(tt.magic); got != tt.kind {
			t.Errorf("%s, %#x: %q, want %q", tt.name, tt.magic, got, tt.kind)
		}
	}
	for path, want := range map[string]string{"/proc": "proc", "/proc/none/none": ""} {
		if got := tail.Network(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
