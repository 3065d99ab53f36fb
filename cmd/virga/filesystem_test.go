package main

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"virga/unpriv"
)

// Each kind of file system that needs advice gets it, whatever the machine of
// the test has.
func TestFileSystemAdvice(t *testing.T) {
	for magic, want := range map[int64]string{
		unix.EXT4_SUPER_MAGIC: "ok ext4",
		unix.TMPFS_MAGIC:      "note tmpfs; images use memory",
		unix.NFS_SUPER_MAGIC:  "note NFS; many small files are slow",
		0x0BD00BD0:            "note Lustre; many small files are slow on it, and overlays take no upper directory",
		0x47504653:            "note GPFS; overlays take no upper directory",
		0x12345:               "ok kind 0x12345",
	} {
		list := kindFindings(&unix.Statfs_t{Type: magic, Bavail: 1 << 30, Bsize: 4096, Files: 1 << 20, Ffree: 1 << 20})
		if got := list[0].grade + " " + list[0].text; !strings.HasPrefix(got, want) || len(list) != 2 || list[1].grade != gradeOK {
			t.Errorf("%#x: %q, want %q", magic, list, want)
		}
	}
	list := kindFindings(&unix.Statfs_t{Type: unix.XFS_SUPER_MAGIC, Bavail: 10, Bsize: 4096, Files: 1 << 20, Ffree: 10})
	if len(list) != 3 || list[1].grade != gradeNote || list[2].grade != gradeBad {
		t.Errorf("full: %q", list)
	}
	// File systems that count no files in advance have none free.
	if list := kindFindings(&unix.Statfs_t{Type: unix.BTRFS_SUPER_MAGIC, Bavail: 1 << 30, Bsize: 4096}); len(list) != 2 {
		t.Errorf("btrfs: %q", list)
	}
}

func TestQuotaFinding(t *testing.T) {
	const gb = 1e9
	for _, tc := range []struct {
		magic int64
		q     unpriv.Quota
		err   error
		want  string
	}{
		{unix.EXT4_SUPER_MAGIC, unpriv.Quota{}, unix.ESRCH, "ok none is known"},
		{unix.EXT4_SUPER_MAGIC, unpriv.Quota{Bytes: gb}, nil, "ok none is known"},
		{unix.EXT4_SUPER_MAGIC, unpriv.Quota{Bytes: 5 * gb, SoftBytes: 20 * gb, HardBytes: 25 * gb}, nil, "ok 5GB of 20GB used"},
		{unix.XFS_SUPER_MAGIC, unpriv.Quota{Bytes: 5 * gb, HardBytes: 6 * gb}, nil, "note 5GB of 6GB used; virga prune"},
		{unix.XFS_SUPER_MAGIC, unpriv.Quota{Bytes: 7 * gb, SoftBytes: 6 * gb}, nil, "bad 7GB of 6GB used; virga prune"},
		{unix.XFS_SUPER_MAGIC, unpriv.Quota{Files: 95_000, HardFiles: 100_000}, nil, "note 95000 of 100000 files; virga prune"},
		{unix.XFS_SUPER_MAGIC, unpriv.Quota{Bytes: gb, HardBytes: 9 * gb, Files: 100_000, HardFiles: 100_000}, nil, "bad 1GB of 9GB used, 100000 of 100000 files;"},
		{unix.NFS_SUPER_MAGIC, unpriv.Quota{}, unix.ENOTSUP, "note the kernel does not know it on NFS: ask quota -s"},
		{0x0BD00BD0, unpriv.Quota{}, unix.ENOSYS, "note the kernel does not know it on Lustre: ask lfs quota -h -u $USER"},
		{0x47504653, unpriv.Quota{}, unix.ENOSYS, "note the kernel does not know it on GPFS: ask mmlsquota"},
	} {
		f := quotaFinding(fileSystems[tc.magic], tc.q, tc.err)
		if got := f.grade + " " + f.text; f.what != "quota" || !strings.HasPrefix(got, tc.want) {
			t.Errorf("%+v, %v: %q, want %q", tc.q, tc.err, got, tc.want)
		}
	}
}

func TestXattrFinding(t *testing.T) {
	if f := xattrFinding(nil); f.grade != gradeOK {
		t.Errorf("%q", f)
	}
	if f := xattrFinding(unix.ENOTSUP); f.grade != gradeNote || !strings.Contains(f.text, "operation not supported; builds copy files") {
		t.Errorf("%q", f)
	}
}
