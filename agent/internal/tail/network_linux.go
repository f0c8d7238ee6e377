package tail

import "golang.org/x/sys/unix"

// Numbers of file systems, as statfs(2) and the sources of the kernel and of coreutils list
// them.
var networks = map[uint32]string{
	0x6969:     "nfs",
	0x517b:     "smb",
	0xff534d42: "cifs",
	0xfe534d42: "smb2",
	0x65735546: "fuse",
	0x01021997: "9p",
	0x5346414f: "afs",
	0x6b414653: "afs",
	0x00c36400: "ceph",
	0x73757245: "coda",
	0x0bd00bd0: "lustre",
	0x47504653: "gpfs",
	0x7461636f: "ocfs2",
	0x01161970: "gfs2",
	0x19830326: "beegfs",
	0x786f4256: "vboxsf",
	0xbacbacbc: "vmhgfs",
	0x9fa0:     "proc",
	0x62656572: "sysfs",
}

// Network returns the kind of the file system at path if it is one that may tell
// no events and whose inode numbers are not to be trusted, and "" if it is not.
func Network(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return ""
	}
	return NetworkKind(int64(st.Type)) //nolint:unconvert // the field's type differs between machines
}

// NetworkKind is Network by the number of a file system.
func NetworkKind(magic int64) string {
	return networks[uint32(magic)] //nolint:gosec // the numbers have 32 bits, and the sign is the machine's
}
