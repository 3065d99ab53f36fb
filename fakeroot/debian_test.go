package fakeroot

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sync"
	"testing"
)

// baseTarVar names a tarball of a Debian root file system for the tests in a
// container, made with "mmdebstrap --variant=minbase bookworm base.tar".
const baseTarVar = "VIRGA_TEST_DEBIAN_TAR"

// baseTree is an unpacked Debian, and the owners its tarball has.
type baseTree struct {
	dir   string
	table Table
}

var (
	debianOnce sync.Once
	debianTree baseTree
	errDebian  error
)

// debian unpacks the base once; its owner is one user.
func debian(t testing.TB) baseTree {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no Debian container")
	}
	tarball := os.Getenv(baseTarVar)
	if tarball == "" {
		t.Skip("no Debian root file system: set " + baseTarVar + " (mmdebstrap --variant=minbase bookworm base.tar)")
	}
	debianOnce.Do(func() { debianTree, errDebian = unpackDebian(tarball) })
	if errDebian != nil {
		t.Fatal(errDebian)
	}
	return debianTree
}

func unpackDebian(tarball string) (baseTree, error) {
	// Beside the tarball, to be found again by the next run.
	dir := tarball + ".unpacked"
	b := baseTree{dir: dir, table: Table{}}
	if err := readOwners(tarball, b.table); err != nil {
		return b, err
	}
	if _, err := os.Stat(dir); err == nil {
		return b, nil
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), "part-")
	if err != nil {
		return b, err
	}
	if os.Getuid() == 0 {
		if err := os.Chown(part, testUID, testUID); err != nil {
			return b, err
		}
	}
	f, err := os.Open(tarball)
	if err != nil {
		return b, err
	}
	defer f.Close()
	cmd := exec.Command("tar", "-xpC", part, "--no-same-owner", "--exclude=./dev/*")
	cmd.Stdin, cmd.Stderr = f, os.Stderr
	cmd.SysProcAttr = userNamespace()
	if err := cmd.Run(); err != nil {
		return b, err
	}
	if err := os.Chmod(part, 0o755); err != nil {
		return b, err
	}
	return b, os.Rename(part, dir)
}

// readOwners fills a table from a tarball's headers.
func readOwners(tarball string, table Table) error {
	f, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if rec := (Record{UID: uint32(h.Uid), GID: uint32(h.Gid)}); !rec.IsZero() {
			table[path.Clean(h.Name)] = rec
		}
	}
}
