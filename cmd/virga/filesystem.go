package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"virga/progress"
	"virga/unpriv"
)

// fileSystem is a kind of file system that storage may be on.
type fileSystem struct {
	name   string
	advice string // "": it is well suited
	quota  string // the command that tells a user's quota; "": the kernel knows
}

// fileSystems are the kinds by their numbers (statfs(2)).
var fileSystems = map[int64]fileSystem{
	unix.EXT4_SUPER_MAGIC:      {name: "ext4"},
	unix.XFS_SUPER_MAGIC:       {name: "xfs"},
	unix.BTRFS_SUPER_MAGIC:     {name: "btrfs", quota: "btrfs qgroup show"},
	unix.TMPFS_MAGIC:           {name: "tmpfs", advice: "images use memory, which counts against the batch job, and are gone when it ends"},
	unix.OVERLAYFS_SUPER_MAGIC: {name: "overlay", advice: "overlay mounts on it are not possible: files are copied"},
	unix.NFS_SUPER_MAGIC:       {name: "NFS", advice: "many small files are slow on it: a local disk (/var/tmp, /scratch of the node) is better", quota: "quota -s"},
	0x0BD00BD0:                 {name: "Lustre", advice: "many small files are slow on it, and overlays take no upper directory: a local disk is better; else virga copies", quota: "lfs quota -h -u $USER"},
	0x47504653:                 {name: "GPFS", advice: "overlays take no upper directory on it: a local disk is better; else virga copies", quota: "mmlsquota --block-size auto"},
	0x19830326:                 {name: "BeeGFS", advice: "many small files are slow on it: a local disk is better", quota: "beegfs-ctl --getquota --uid $USER"},
	0x00c36400:                 {name: "Ceph", advice: "many small files are slow on it: a local disk is better", quota: "getfattr -n ceph.quota.max_bytes"},
	unix.FUSE_SUPER_MAGIC:      {name: "FUSE", advice: "it is as good as the program behind it; a local disk is better"},
	0x2fc12fc1:                 {name: "ZFS"},
}

// lowSpace is when free space is worth a note: less is less than a base image
// with a compiler takes. lowFiles is the same of files.
const (
	lowSpace = 2 << 30
	lowFiles = 10_000
)

// fileSystemFindings looks at the file system of dir.
func fileSystemFindings(dir string) []finding {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return []finding{{gradeBad, "file system", err.Error()}}
	}
	out := kindFindings(&st)
	q, err := unpriv.UserQuota(dir)
	return append(out, quotaFinding(fileSystems[int64(st.Type)], q, err))
}

// kindFindings is the kind of a file system, and how much of it is free.
func kindFindings(st *unix.Statfs_t) []finding {
	kind, ok := fileSystems[int64(st.Type)]
	if !ok {
		kind.name = fmt.Sprintf("kind %#x", st.Type)
	}
	f := finding{gradeOK, "file system", kind.name}
	if kind.advice != "" {
		f.grade, f.text = gradeNote, kind.name+"; "+kind.advice
	}
	free := int64(st.Bavail) * st.Bsize
	space := finding{gradeOK, "free space", progress.Bytes(free)}
	if free < lowSpace {
		space.grade, space.text = gradeNote, space.text+"; virga prune frees what is not used"
	}
	if st.Files > 0 && st.Ffree < lowFiles {
		return []finding{f, space, {gradeBad, "free files", fmt.Sprintf("%d; an image has tens of thousands: delete files, or choose another storage directory", st.Ffree)}}
	}
	return []finding{f, space}
}

// quotaFinding says what the user may still write.
func quotaFinding(kind fileSystem, q unpriv.Quota, err error) finding {
	out := finding{grade: gradeOK, what: "quota"}
	bytes, files := limit(q.SoftBytes, q.HardBytes), limit(q.SoftFiles, q.HardFiles)
	switch {
	case err != nil && kind.quota != "":
		out.grade, out.text = gradeNote, fmt.Sprintf("the kernel does not know it on %s: ask %s", kind.name, kind.quota)
		return out
	case err != nil, bytes == 0 && files == 0:
		out.text = "none is known"
		return out
	}
	left := func(limit, used uint64) uint64 { return limit - min(limit, used) }
	if bytes > 0 {
		out.text = fmt.Sprintf("%s of %s used", progress.Bytes(int64(q.Bytes)), progress.Bytes(int64(bytes)))
	}
	if files > 0 {
		if out.text != "" {
			out.text += ", "
		}
		out.text += fmt.Sprintf("%d of %d files", q.Files, files)
	}
	const remedy = "; virga prune frees what is not used, or choose another storage directory"
	switch {
	case bytes > 0 && left(bytes, q.Bytes) == 0, files > 0 && left(files, q.Files) == 0:
		out.grade, out.text = gradeBad, out.text+remedy
	case bytes > 0 && left(bytes, q.Bytes) < lowSpace, files > 0 && left(files, q.Files) < lowFiles:
		out.grade, out.text = gradeNote, out.text+remedy
	}
	return out
}

// limit is the lower of two limits, of which 0 is none.
func limit(soft, hard uint64) uint64 {
	if soft == 0 || hard != 0 && hard < soft {
		return hard
	}
	return soft
}

// xattrFinding says whether storage can hold attributes of users.
func xattrFinding(err error) finding {
	if err != nil {
		return finding{gradeNote, "user attributes in storage", err.Error() + "; builds copy files, and unpack cannot write the image's owners"}
	}
	return finding{gradeOK, "user attributes in storage", "work"}
}
