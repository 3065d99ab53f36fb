package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"virga/attest"
	"virga/internal/inroot"
)

// download fetches a URL for ADD into the build's work directory. The file is
// named after the URL's path, has mode 0600 and the time the server gives, as
// Docker's reference says.
func (b *builder) download(ctx context.Context, address, checksum string) (*source, string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, "", fmt.Errorf("fetch %q: %w", address, err)
	}
	name := path.Base(u.Path)
	if name == "/" || name == "." {
		return nil, "", fmt.Errorf("fetch %q: the address has no file name; give a destination that names the file's directory and an address that names the file", address)
	}
	dir, err := b.work.Sub(fmt.Sprintf("fetch%d", b.snaps.Add(1)))
	if err != nil {
		return nil, "", err
	}
	got, err := fetchFile(ctx, address, filepath.Join(dir, name), checksum)
	if err != nil {
		return nil, "", fmt.Errorf("fetch %q: %w", address, err)
	}
	root, err := inroot.Open(dir)
	if err != nil {
		return nil, "", err
	}
	b.keep(root)
	b.dependency(attest.Resource{Name: "file", URI: attest.WithoutUser(address), Digest: attest.Digests(got)})
	return &source{root: root}, escapeWild(name), nil
}

// escapeWild makes a name match itself only.
func escapeWild(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// fetchFile writes what an http(s) address gives to a new file, whose
// modification time becomes what the server says, else the epoch. It returns
// the file's digest.
func fetchFile(ctx context.Context, address, file, checksum string) (got digest.Digest, err error) {
	var want digest.Digest
	if checksum != "" {
		if want, err = digest.Parse(checksum); err != nil {
			return "", fmt.Errorf("--checksum=%s: %w", checksum, err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", errors.Unwrap(err) // the address is named by the caller
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the server answers %s", resp.Status)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), resp.Body)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", err
	}
	if resp.ContentLength >= 0 && n != resp.ContentLength {
		return "", io.ErrUnexpectedEOF
	}
	if got = digest.NewDigest(digest.SHA256, h); want != "" && got != want {
		return "", fmt.Errorf("checksum %s, want %s", got, want)
	}
	if t, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		return got, os.Chtimes(file, time.Time{}, t)
	}
	return got, os.Chtimes(file, time.Time{}, time.Unix(0, 0))
}

// clone checks a repository out for ADD.
func (b *builder) clone(ctx context.Context, address string, keepGitDir bool) (*source, error) {
	dir, err := b.work.Sub(fmt.Sprintf("git%d", b.snaps.Add(1)))
	if err != nil {
		return nil, err
	}
	root, commit, err := cloneGit(ctx, dir, address, keepGitDir)
	if err != nil {
		return nil, err
	}
	b.keep(root)
	b.dependency(attest.Resource{Name: "repository", URI: attest.WithoutUser(address), Digest: attest.DigestSet{"gitCommit": commit}})
	return &source{root: root}, nil
}

// cloneGit checks a repository out into dir, an empty directory, and opens it:
// ADDRESS[#REF[:SUBDIR]]. It returns the commit, too.
func cloneGit(ctx context.Context, dir, address string, keepGitDir bool) (_ *inroot.Root, commit string, err error) {
	repo, frag, _ := strings.Cut(address, "#")
	ref, sub, _ := strings.Cut(frag, ":")
	if strings.HasPrefix(ref, "-") || strings.HasPrefix(repo, "-") {
		return nil, "", fmt.Errorf("git repository %q: bad reference", address)
	}
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, "", fmt.Errorf("git repository %q: git is not installed on this host", address)
	}
	if ref == "" {
		ref = "HEAD"
	}
	run := func(args ...string) error {
		cmd := exec.CommandContext(ctx, git, append([]string{"-C", dir, "-c", "init.defaultBranch=main", "-c", "advice.detachedHead=false"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git repository %q: git %s: %w: %s", address, args[0], err, oneLine(string(out), 300))
		}
		return nil
	}
	if err := run("init", "-q"); err != nil {
		return nil, "", err
	}
	err = run("fetch", "-q", "--depth=1", "--", repo, ref)
	if err != nil && ctx.Err() == nil { // some servers cannot give a part of the history
		err = run("fetch", "-q", "--", repo, ref)
	}
	if err == nil {
		err = run("checkout", "-q", "FETCH_HEAD")
	}
	if err != nil {
		return nil, "", err
	}
	b, err := os.ReadFile(filepath.Join(dir, ".git/HEAD")) // detached: the commit itself
	if err != nil {
		return nil, "", err
	}
	commit = strings.TrimSpace(string(b))
	if !keepGitDir {
		if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
			return nil, "", err
		}
	}
	root, err := inroot.Open(dir)
	if err != nil || sub == "" {
		return root, commit, err
	}
	defer root.Close()
	p, err := root.Resolve(sub+"/", true, nil)
	if err != nil {
		return nil, "", fmt.Errorf("git repository %q: directory %q: %w", address, sub, plain(err))
	}
	defer p.Close()
	root, err = inroot.Open(filepath.Join(dir, p.Path))
	return root, commit, err
}

// keep closes root at the end of the build.
func (b *builder) keep(root *inroot.Root) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roots = append(b.roots, root)
}
