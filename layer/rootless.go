package layer

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"virga/fakeroot"
)

// Owners in directories that people and other tools see are in the attribute
// user.rootlesscontainers, which umoci and PRoot know too. It is read on import,
// written on export and by `virga run`, and never in a tree or a layer.

// rootless takes the attribute from those of m, whose owner it names. One that
// cannot be read is as good as none.
func (m *member) rootless() {
	v, ok := m.xattrs[fakeroot.RootlessXattr]
	if !ok {
		return
	}
	delete(m.xattrs, fakeroot.RootlessXattr)
	if uid, gid, err := fakeroot.DecodeRootless([]byte(v)); err == nil {
		m.uid, m.gid = uid, gid
	}
}

// readRootless does so from the disk, for a file or directory base in dir.
func (m *member) readRootless(dir int, base string) {
	if m.kind != kindFile && m.kind != kindDir { // others cannot have it
		return
	}
	var buf [32]byte
	n, err := unix.Lgetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", dir, base), fakeroot.RootlessXattr, buf[:])
	if err != nil {
		return
	}
	m.xattrs = map[string]string{fakeroot.RootlessXattr: string(buf[:n])}
	m.rootless()
	m.xattrs = nil
}

// writeRootless has m carry its recorded owner.
func (m *member) writeRootless(rec fakeroot.Record) {
	if rec.UID == 0 && rec.GID == 0 || m.kind != kindFile && m.kind != kindDir {
		return
	}
	m.xattrs = map[string]string{fakeroot.RootlessXattr: string(fakeroot.EncodeRootless(rec.UID, rec.GID))}
}

// ReadRootless returns the owners that the attribute user.rootlesscontainers
// of the files in a directory names.
func ReadRootless(ctx context.Context, dir string) (fakeroot.Table, error) {
	t := fakeroot.Table{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return nil // what cannot be read has no owner that is known
		}
		var buf [32]byte
		n, err := unix.Lgetxattr(path.Join(dir, name), fakeroot.RootlessXattr, buf[:])
		if err != nil {
			return nil
		}
		if uid, gid, err := fakeroot.DecodeRootless(buf[:n]); err == nil && (uid != 0 || gid != 0) {
			t[name] = fakeroot.Record{UID: uid, GID: gid}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read owners in %q: %w", dir, err)
	}
	return t, nil
}

// WriteRootless sets the attribute of the files in a directory that table names,
// and removes it from those that are root's. What cannot carry it (links,
// devices, file systems without attributes) is left out.
func WriteRootless(dir string, table fakeroot.Table) error {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("record owners in %q: %w", dir, err)
	}
	defer unix.Close(root)
	for _, name := range table.Paths() {
		rec := table[name]
		if rec.Gone {
			continue
		}
		if err := writeRootless(root, name, rec); err != nil {
			return fmt.Errorf("record owner of %q: %w", path.Join(dir, name), err)
		}
	}
	return nil
}

func writeRootless(root int, name string, rec fakeroot.Record) error {
	fd, err := unix.Openat2(root, name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
		return nil // removed since
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if k := st.Mode & unix.S_IFMT; k != unix.S_IFREG && k != unix.S_IFDIR {
		return nil
	}
	handle := fmt.Sprintf("/proc/self/fd/%d", fd)
	if rec.UID == 0 && rec.GID == 0 {
		err = unix.Removexattr(handle, fakeroot.RootlessXattr)
	} else {
		err = unix.Setxattr(handle, fakeroot.RootlessXattr, fakeroot.EncodeRootless(rec.UID, rec.GID), 0)
	}
	switch err {
	case unix.ENODATA, unix.ENOTSUP, unix.EPERM, unix.EACCES:
		return nil
	}
	return err
}
