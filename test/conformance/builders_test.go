package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// job is one Dockerfile to build: what all builders are told alike.
type job struct {
	dir  string // the context
	file string // Dockerfile below it
	tag  string
	args []string // --build-arg, --target, --label: of one form with all
}

// builder makes an image of a job and pushes it to the test's registry, from
// which everything is read: what counts is what others get.
type builder interface {
	// build returns what the builder said, and an error if it failed.
	build(ctx context.Context, j job) (said string, err error)
	// keep makes the image usable in FROM under its tag.
	keep(ctx context.Context, j job) error
}

// timeLimit bounds one command. The slowest case takes a few seconds, an
// installation of packages a minute.
const timeLimit = 15 * time.Minute

// command runs a program and returns all it says.
func command(ctx context.Context, dir string, env []string, as *syscall.Credential, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, env, 5*time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String(), err
}

// place is what the builders share.
type place struct {
	work     string // working directory, 0755
	registry string // HOST:PORT
}

// env is the same for all builders; nothing of the caller's gets into images.
func (p *place) env(home string) []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + home, "TMPDIR=" + p.work, "LANG=C.UTF-8"}
}

// virga is the program under test, run by a normal user.
type virga struct {
	place
	binary string
	as     *syscall.Credential
}

// newVirga copies the binary to where the user can run it.
func newVirga(t *testing.T, p place, binary string) *virga {
	t.Helper()
	v := &virga{place: p, binary: filepath.Join(p.work, "bin", "virga"), as: normalUser(t)}
	b, err := os.ReadFile(binary)
	if err == nil {
		err = errors.Join(os.Mkdir(filepath.Dir(v.binary), 0o755), os.WriteFile(v.binary, b, 0o755), os.Mkdir(v.home(), 0o700),
			os.Chown(v.home(), int(v.as.Uid), int(v.as.Gid)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// normalUser is the user that virga runs as, made if it is missing.
func normalUser(t *testing.T) *syscall.Credential {
	t.Helper()
	const name = "virga-test" // as for the bats tests
	u, err := user.Lookup(name)
	if err != nil {
		if out, err := exec.CommandContext(t.Context(), "useradd", "--create-home", name).CombinedOutput(); err != nil {
			t.Fatalf("useradd %s: %v\n%s", name, err, out)
		}
		if u, err = user.Lookup(name); err != nil {
			t.Fatal(err)
		}
	}
	uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uerr, gerr); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (v *virga) home() string { return filepath.Join(v.work, "home") }

func (v *virga) run(ctx context.Context, dir string, args ...string) (string, error) {
	env := append(v.env(v.home()), "USER=virga-test", "VIRGA_STORAGE="+filepath.Join(v.home(), "storage"))
	return command(ctx, dir, env, v.as, append([]string{v.binary}, args...)...)
}

func (v *virga) build(ctx context.Context, j job) (string, error) {
	said, err := v.run(ctx, j.dir, append([]string{"build", "-t", j.tag, "-f", j.file, "."}, j.args...)...)
	if err != nil {
		return said, err
	}
	_, err = v.run(ctx, j.dir, "push", "--plain-http", j.tag, v.registry+"/virga/"+j.tag)
	return said, err
}

func (v *virga) keep(ctx context.Context, j job) error {
	_, err := v.build(ctx, j) // every image built is in storage
	return err
}

// buildah is the peer, run by root with chroot isolation.
type buildah struct {
	place
	driver string
}

func newBuildah(t *testing.T, p place) *buildah {
	t.Helper()
	b := &buildah{place: p, driver: "overlay"}
	if _, err := b.run(t.Context(), p.work, "info"); err != nil {
		b.driver = "vfs" // slower, but it works on any file system
	}
	t.Cleanup(func() {
		// The driver leaves its directory mounted on itself.
		_ = syscall.Unmount(filepath.Join(p.work, "buildah", "overlay"), syscall.MNT_DETACH)
	})
	return b
}

func (b *buildah) run(ctx context.Context, dir string, args ...string) (string, error) {
	global := []string{"buildah", "--root", filepath.Join(b.work, "buildah"), "--runroot", filepath.Join(b.work, "buildah-run"), "--storage-driver", b.driver}
	return command(ctx, dir, b.env(b.work), nil, append(global, args...)...)
}

func (b *buildah) build(ctx context.Context, j job) (string, error) {
	args := []string{"build", "--format", "docker", "--identity-label=false", "--isolation", "chroot", "--cap-add", "MKNOD", "--pull=never", "-t", j.tag, "-f", j.file}
	said, err := b.run(ctx, j.dir, append(append(args, j.args...), ".")...)
	if err != nil {
		return said, err
	}
	_, err = b.run(ctx, j.dir, "push", "-q", "--format", "docker", "--tls-verify=false", j.tag, "docker://"+b.registry+"/buildah/"+j.tag)
	return said, err
}

func (b *buildah) keep(ctx context.Context, j job) error {
	_, err := b.build(ctx, j)
	return err
}

// buildkit is the reference itself, where it is given.
type buildkit struct {
	place
	bin string // directory of buildkitd and buildctl
}

// newBuildkit starts a server of our own.
func newBuildkit(t *testing.T, p place, bin string) *buildkit {
	t.Helper()
	b := &buildkit{place: p, bin: bin}
	config := filepath.Join(p.work, "buildkitd.toml")
	text := fmt.Sprintf("[registry.\"docker.io\"]\nmirrors = [%q]\n[registry.%q]\nhttp = true\n", p.registry+"/buildkit", p.registry)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(bin, "buildkitd"), "--config", config, "--addr", b.address(), "--root", filepath.Join(p.work, "buildkit"),
		"--oci-worker-snapshotter=native", "--containerd-worker=false")
	log, err := os.Create(filepath.Join(p.work, "buildkitd.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, b.env(p.work)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		log.Close()
	})
	for range 100 {
		if _, err = b.ctl(t.Context(), p.work, "debug", "workers"); err == nil {
			return b
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("buildkitd does not answer: %v", err)
	return nil
}

func (b *buildkit) address() string { return "unix://" + filepath.Join(b.work, "buildkitd.sock") }

func (b *buildkit) ctl(ctx context.Context, dir string, args ...string) (string, error) {
	return command(ctx, dir, b.env(b.work), nil, append([]string{filepath.Join(b.bin, "buildctl"), "--addr", b.address()}, args...)...)
}

func (b *buildkit) build(ctx context.Context, j job) (string, error) { return b.export(ctx, j, j.tag) }

func (b *buildkit) keep(ctx context.Context, j job) error {
	_, err := b.export(ctx, j, "library/"+j.tag) // what the mirror of docker.io has
	return err
}

func (b *buildkit) export(ctx context.Context, j job, tag string) (string, error) {
	args := []string{"build", "--progress=plain", "--frontend=dockerfile.v0", "--local=context=.", "--local=dockerfile=" + filepath.Dir(j.file),
		"--opt=filename=" + filepath.Base(j.file),
		"--output=type=image,oci-mediatypes=false,push=true,registry.insecure=true,name=" + b.registry + "/buildkit/" + tag}
	for i := 0; i+1 < len(j.args); i += 2 {
		switch j.args[i] {
		case "--target":
			args = append(args, "--opt=target="+j.args[i+1])
		default: // --build-arg, --label
			args = append(args, "--opt="+strings.TrimPrefix(j.args[i], "--")+":"+j.args[i+1])
		}
	}
	return b.ctl(ctx, j.dir, args...)
}

// listing is an image in lines: configuration by name, files by path.
type listing map[string]string

// read lists an image of the test's registry.
func (p *place) read(ctx context.Context, repository string) (listing, error) {
	ref, err := name.ParseReference(p.registry+"/"+repository, name.Insecure)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(ref, remote.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	raw, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	out, err := listConfig(raw)
	if err != nil {
		return nil, err
	}
	files, err := readTree(img)
	if err != nil {
		return nil, err
	}
	for path, line := range files.list() {
		out[path] = line
	}
	return out, nil
}
