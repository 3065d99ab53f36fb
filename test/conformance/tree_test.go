package conformance

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// node is a file of an image. Hard links are one node under several paths.
type node struct {
	kind       byte // as tar has it: '0' file, '1' never, '2' link, '3' '4' device, '5' directory, '6' fifo
	mode       int64
	uid, gid   int
	text       string // contents in short, link target, or device number
	attributes string
}

// tree is the root file system of an image, by absolute path. It is made in
// memory: no owner or device is lost to what this process may do on disk.
type tree map[string]*node

// readTree applies the layers of an image, bottom first.
func readTree(img v1.Image) (tree, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	t := tree{}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			return nil, err
		}
		err = t.apply(tar.NewReader(r))
		if err == nil {
			_, err = io.Copy(io.Discard, r) // to the end, where the digest is checked
		}
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// apply adds one layer (OCI image-spec, layer.md, "Applying Changesets"). What
// whiteouts delete belongs to the layers below, whatever the order in the tar.
func (t tree) apply(tr *tar.Reader) error {
	upper := tree{}
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		name := path.Join("/", h.Name)
		dir, base := path.Split(name)
		switch {
		case base == ".wh..wh..opq":
			t.remove(path.Clean(dir), false)
		case strings.HasPrefix(base, ".wh."):
			t.remove(path.Join(dir, strings.TrimPrefix(base, ".wh.")), true)
		default:
			if err := upper.add(name, h, tr, t); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(upper)) {
		n := upper[name]
		if old := t[name]; old != nil && old.kind == tar.TypeDir && n.kind != tar.TypeDir {
			t.remove(name, false)
		}
		t[name] = n
	}
	return nil
}

// remove deletes what is below name, and with self name itself.
func (t tree) remove(name string, self bool) {
	below := strings.TrimSuffix(name, "/") + "/"
	maps.DeleteFunc(t, func(p string, _ *node) bool { return self && p == name || strings.HasPrefix(p, below) && p != "/" })
}

func (t tree) add(name string, h *tar.Header, r io.Reader, lower tree) error {
	if h.Typeflag == tar.TypeLink {
		to := path.Join("/", h.Linkname)
		n := t[to]
		if n == nil {
			n = lower[to]
		}
		if n == nil {
			return fmt.Errorf("hard link to %q, which is missing", to)
		}
		t[name] = n
		return nil
	}
	n := &node{kind: h.Typeflag, mode: h.Mode & 0o7777, uid: h.Uid, gid: h.Gid}
	switch h.Typeflag {
	case tar.TypeReg, 0:
		n.kind = tar.TypeReg
		var err error
		if n.text, err = abbreviate(r); err != nil {
			return err
		}
	case tar.TypeSymlink:
		n.text, n.mode = h.Linkname, 0o777
	case tar.TypeChar, tar.TypeBlock:
		n.text = fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
	case tar.TypeDir, tar.TypeFifo:
	default:
		return fmt.Errorf("tar entry of type %q", h.Typeflag)
	}
	for _, k := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		if attr, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok && !strings.HasPrefix(attr, "user.overlay.") && attr != "trusted.overlay.opaque" {
			n.attributes += fmt.Sprintf(" %s=%q", attr, h.PAXRecords[k])
		}
	}
	t[name] = n
	return nil
}

var kinds = map[byte]string{tar.TypeReg: "file", tar.TypeSymlink: "link", tar.TypeChar: "char", tar.TypeBlock: "block", tar.TypeDir: "dir", tar.TypeFifo: "fifo"}

// list describes each path in one line. The times are left out, and the root
// directory, which no tool writes the same.
func (t tree) list() map[string]string {
	first := map[*node]string{}
	out := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		n := t[name]
		if name == "/" {
			continue
		}
		line := fmt.Sprintf("%s %04o %d:%d%s", kinds[n.kind], n.mode, n.uid, n.gid, n.attributes)
		switch n.kind {
		case tar.TypeReg:
			line += " " + n.text
		case tar.TypeSymlink:
			line += " -> " + n.text
		case tar.TypeChar, tar.TypeBlock:
			line += " " + n.text
		}
		if other, ok := first[n]; ok {
			line += " = " + other
		} else {
			first[n] = name
		}
		out[name] = line
	}
	return out
}

// abbreviate is the text, or its digest if it is long or not text.
func abbreviate(r io.Reader) (string, error) {
	head, err := io.ReadAll(io.LimitReader(r, 401))
	if err != nil {
		return "", err
	}
	if len(head) <= 400 && utf8.Valid(head) {
		return fmt.Sprintf("%q", head), nil
	}
	h := sha256.New()
	h.Write(head)
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%d bytes %x", int64(len(head))+n, h.Sum(nil)), err
}
