package layer

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"golang.org/x/sys/unix"
)

// ExtractOptions says how ExtractTar treats an archive.
type ExtractOptions struct {
	// Into is the directory, relative to the root and resolved inside it, that
	// members are relative to. It is created if missing. Empty means the root.
	Into string
	// StripTop removes the one top directory that all members share, unless it
	// is called bin, dev, etc, mnt, proc, sys, tmp or usr (as ch-image import
	// does). The root must be empty before, and Into too.
	StripTop bool
	// KeepDev creates what is below dev/, but for device nodes: for an archive
	// that is not a whole root file system.
	KeepDev    bool
	AllOwners  bool         // Unpacked.Owners holds all members, not only those that differ from the disk
	KeepOwners bool         // as in Options
	Logger     *slog.Logger // nil: silent
}

// standardTops are the directories that an archive of a root file system may consist
// of alone, without being wrapped in them.
var standardTops = map[string]bool{
	"bin": true, "dev": true, "etc": true, "mnt": true,
	"proc": true, "sys": true, "tmp": true, "usr": true,
}

// ExtractTar unpacks one archive, with any compression that Decompress knows,
// into the tree at root. What is there already is replaced as by Unpack, but
// names beginning with .wh. are just names. Paths in Unpacked.Owners are
// relative to the root; files that were there before are not in it. DiffIDs stays empty.
func ExtractTar(ctx context.Context, root string, r io.Reader, opts ExtractOptions) (*Unpacked, error) {
	u, err := extractTar(ctx, root, r, opts)
	if err != nil {
		return nil, fmt.Errorf("extract archive: %w", err)
	}
	return u, nil
}

func extractTar(ctx context.Context, root string, r io.Reader, opts ExtractOptions) (*Unpacked, error) {
	u := &Unpacked{}
	into, _, err := cleanName("/" + opts.Into)
	if err != nil {
		return nil, err
	}
	t, err := newTree(root, opts.KeepOwners, opts.Logger)
	if err != nil {
		return nil, err
	}
	defer t.close()
	u.Owners, t.all = t.table, opts.AllOwners
	s := startStream(ctx, Blob{Open: readOnce(r)}, nil, newChunks(), nil)
	defer s.close()
	dir, err := t.dir(into)
	if err != nil {
		return nil, err
	}
	dir.drop()
	if err := t.apply(ctx, s, rules{into: into, keepDev: opts.KeepDev}, &u.Fixes); err != nil {
		return nil, err
	}
	if _, u.Size, err = s.finish(); err != nil {
		return nil, err
	}
	if opts.StripTop {
		if err := t.stripTop(opts, &u.Fixes); err != nil {
			return nil, err
		}
	}
	return u, t.finish(ctx)
}

// readOnce opens a reader that stays its owner's.
func readOnce(r io.Reader) func(context.Context) (io.ReadCloser, error) {
	opened := false
	return func(context.Context) (io.ReadCloser, error) {
		if opened {
			return nil, errReadOnce
		}
		opened = true
		return io.NopCloser(r), nil
	}
}

// stripTop moves the content of the only top directory to the root.
func (t *tree) stripTop(opts ExtractOptions, fixes *Fixes) error {
	names, err := namesIn(t.root.fd, ".")
	if err != nil {
		return failed("list directory", ".", err)
	}
	if len(names) != 1 || standardTops[names[0]] {
		return nil
	}
	top := names[0]
	st, err := statAt(t.root.fd, top)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	t.forget()
	inside, err := namesIn(t.root.fd, top)
	if err != nil {
		return failed("list directory", top, err)
	}
	// The directory may contain its own name.
	temp := top
	for i := 0; contains(inside, temp); i++ {
		temp = fmt.Sprintf("%.200s.%d", top, i)
	}
	if err := unix.Renameat(t.root.fd, top, t.root.fd, temp); err != nil {
		return failed("rename", top, err)
	}
	fd, err := openDir(t.root.fd, temp)
	if err != nil {
		return failed("open directory", top, err)
	}
	defer unix.Close(fd)
	for _, n := range inside {
		if err := unix.Renameat(fd, n, t.root.fd, n); err != nil {
			return failed("rename", join(top, n), err)
		}
	}
	if err := unix.Unlinkat(t.root.fd, temp, unix.AT_REMOVEDIR); err != nil {
		return failed("remove", top, err)
	}
	return t.becomeRoot(top, &st, opts, fixes)
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// becomeRoot turns all that is known about the directory top into knowledge
// about the root.
func (t *tree) becomeRoot(top string, st *unix.Stat_t, opts ExtractOptions, fixes *Fixes) error {
	rekey(t.table, top)
	rekey(t.times, top)
	rekey(t.ghosts, top)
	if t.real {
		if err := unix.Fchown(t.root.fd, int(st.Uid), int(st.Gid)); err != nil {
			return failed("change owner", ".", err)
		}
	}
	if err := unix.Fchmod(t.root.fd, st.Mode&07777); err != nil {
		return failed("change mode", ".", err)
	}
	if t.real || opts.KeepDev {
		return nil
	}
	dev, err := openDir(t.root.fd, "dev")
	if err != nil {
		return nil // none, or a link
	}
	defer unix.Close(dev)
	names, err := namesIn(dev, ".")
	if err != nil {
		return failed("list directory", "dev", err)
	}
	fixes.Devices += len(names)
	_, err = t.pruneIn(dev, "dev", false)
	return err
}

// rekey makes top the root of a map by path.
func rekey[V any](m map[string]V, top string) {
	moved := make(map[string]V, len(m))
	for path, v := range m {
		if path == top {
			moved["."] = v
		} else if rest, ok := strings.CutPrefix(path, top+"/"); ok {
			moved[rest] = v
		}
	}
	clear(m)
	for path, v := range moved {
		m[path] = v
	}
}
