package registry

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// janesPassword is "secret", as htpasswd -nbB writes it.
const janesPassword = "jane:$2y$05$pnn6kr7cWRwVz6AZW9BT/O62sSXuuw3bfK2/Amta0uBLKHKHhXuFW\n"

// startRegistry runs Debian's docker-registry (distribution 2.8), the
// registry that most sites run, and returns its host. extra is added to the
// configuration's http section and after it.
func startRegistry(t *testing.T, http, more string) string {
	t.Helper()
	bin, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed")
	}
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	_ = l.Close()
	conf := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp:\n  addr: %s\n%s\n%s\n", dir, host, http, more)
	write(t, filepath.Join(dir, "config.yml"), []byte(conf))
	var out bytes.Buffer
	cmd := exec.Command(bin, "serve", filepath.Join(dir, "config.yml"))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	for range 200 {
		if conn, err := net.Dial("tcp", host); err == nil {
			_ = conn.Close()
			return host
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("docker-registry does not listen: %s", out.String())
	return ""
}

// TestRealRegistry pushes and pulls by plain HTTP, by TLS with a private
// authority, and with a password.
func TestRealRegistry(t *testing.T) {
	ca := newAuthority(t)
	dir := t.TempDir()
	cert := ca.server("", time.Time{})
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tls.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
	write(t, filepath.Join(dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	write(t, filepath.Join(dir, "htpasswd"), []byte(janesPassword))
	tls := fmt.Sprintf("  tls: {certificate: %s/tls.pem, key: %s/tls.key}", dir, dir)
	auth := fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s/htpasswd}}", dir)
	for _, tt := range []struct{ name, http, more string }{{"plain", "", ""}, {"tls", tls, ""}, {"password", tls, auth}} {
		t.Run(tt.name, func(t *testing.T) {
			host := startRegistry(t, tt.http, tt.more)
			opts := Options{}
			if tt.http != "" {
				opts.CertDirs = []string{t.TempDir()}
				write(t, filepath.Join(opts.CertDirs[0], host, "ca.crt"), ca.pem())
				var e *Error
				if _, err := quick(t, Options{}).Head(t.Context(), parseRef(t, "%s/a", host)); !errors.As(err, &e) || !strings.Contains(e.Hint(), "--tls-no-verify") {
					t.Errorf("unknown authority: %v", err)
				}
			}
			if tt.more != "" {
				c := quick(t, opts)
				if err := c.Login(t.Context(), host, jane); err != nil {
					t.Fatal(err)
				}
				if err := c.Login(t.Context(), host, Credential{Username: "jane", Password: "x"}); !errors.Is(err, ErrUnauthorized) {
					t.Errorf("wrong password: %v", err)
				}
				opts.Credentials = Static(jane)
			}
			exerciseRegistry(t, quick(t, opts), host)
		})
	}
}

func exerciseRegistry(t *testing.T, c *Client, host string) {
	layers := [][]byte{random(5<<20, 1), random(100, 2), nil}
	img := pushable(t, layers...)
	ref := parseRef(t, "%s/team/app:v1", host)
	for _, opts := range []PushOptions{{}, {ChunkSize: 1 << 20}} {
		ref.Path = fmt.Sprintf("team/app%d", opts.ChunkSize)
		done, err := c.Push(t.Context(), ref, img, opts)
		if err != nil || done.Uploaded != 4 {
			t.Fatalf("push %+v: %+v, %v", opts, done, err)
		}
		if again, err := c.Push(t.Context(), ref, img, opts); err != nil || again.Existing != 4 {
			t.Errorf("push again: %+v, %v", again, err)
		}
		got, err := c.Resolve(t.Context(), ref, amd64())
		if err != nil || !bytes.Equal(got.Manifest, img.Manifest) {
			t.Fatalf("resolve: %v", err)
		}
		var n atomic.Int32
		err = c.Fetch(t.Context(), ref, got.Layers, func(_ context.Context, d Descriptor, r io.Reader) error {
			b, err := io.ReadAll(r)
			if digest.FromBytes(b) != d.Digest {
				t.Errorf("layer %s has digest %s", d.Digest, digest.FromBytes(b))
			}
			n.Add(1)
			return err
		})
		if err != nil || int(n.Load()) != len(layers) {
			t.Errorf("fetched %d layers, %v", n.Load(), err)
		}
	}
	for i := range img.Layers {
		img.Layers[i].From = []string{ref.Path}
	}
	ref.Path = "other/app"
	if done, err := c.Push(t.Context(), ref, img, PushOptions{}); err != nil || done.Mounted != 3 || done.Uploaded != 1 {
		t.Errorf("mount: %+v, %v", done, err)
	}
	if _, err := c.Resolve(t.Context(), parseRef(t, "%s/team/none:v1", host), amd64()); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown image: %v", err)
	}
	if _, err := c.Resolve(t.Context(), parseRef(t, "%s/other/app:v2", host), amd64()); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown tag: %v", err)
	}
}

// Another tool reads what Push wrote and comes to the same digest.
func TestSkopeoReadsPush(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skopeo is not installed")
	}
	host := startRegistry(t, "", "")
	img := pushable(t, random(1<<20, 1))
	ref := parseRef(t, "%s/app:v1", host)
	if _, err := quick(t, Options{}).Push(t.Context(), ref, img, PushOptions{}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(skopeo, "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+ref.Full())
	cmd.Env = append(os.Environ(), "REGISTRY_AUTH_FILE="+filepath.Join(t.TempDir(), "none"))
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != digest.FromBytes(img.Manifest).String() {
		t.Errorf("skopeo says %s, %v", out, err)
	}
}
