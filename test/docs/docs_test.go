// Package docs runs what README.md and the pages below docs show.
//
// The commands need the programs and registries that test/bats/docs.bats
// starts; see there. The pages' form is checked by go test, too.
package docs

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// standIns are the programs of a cluster that a test machine lacks. Each says
// what it does instead.
//
//go:embed stand-ins
var standIns embed.FS

// host is what the pages run on.
type host struct {
	virga    string // the binary
	open     string // a registry for everybody, host:port
	private  string // one that wants the user ada
	gateway  *gateway
	programs string // a directory of the stand-ins
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{virga: os.Getenv("VIRGA_DOCS"), open: os.Getenv("REGISTRY"), private: os.Getenv("PRIVATE_REGISTRY")}
	if h.virga == "" || h.open == "" || h.private == "" {
		t.Skip("VIRGA_DOCS, REGISTRY and PRIVATE_REGISTRY are not set: make bats TESTS=test/bats/docs.bats")
	}
	h.gateway = newGateway(t, map[string][]string{
		h.open:    {"index.docker.io", "registry-1.docker.io", "docker.io"},
		h.private: {"registry.example.org"},
	})
	h.programs = t.TempDir()
	list, err := standIns.ReadDir("stand-ins")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		b, err := standIns.ReadFile("stand-ins/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.programs, f.Name()), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// TestPages runs the commands of each page in a home and a storage directory
// of its own. They find debian:bookworm in storage, as links to the files of one
// pull, because pulling it each time would take longer than all the rest.
func TestPages(t *testing.T) {
	h := newHost(t)
	seed := filepath.Join(t.TempDir(), "storage")
	t.Cleanup(func() { _ = exec.Command(h.virga, "--storage", seed, "reset").Run() })
	home := t.TempDir()
	pull := exec.Command(h.virga, "--storage", seed, "pull", "debian:bookworm")
	pull.Env = h.environment(t, "", home)
	if out, err := pull.CombinedOutput(); err != nil {
		t.Fatalf("pull debian:bookworm: %v\n%s", err, out)
	}
	for name, text := range pages(t) {
		list, err := blocks(text)
		if err != nil {
			t.Fatal(err)
		}
		list = slices.DeleteFunc(list, func(b block) bool { return b.notRun != "" || b.lang != "sh" && b.lang != "text" })
		if len(list) == 0 {
			continue
		}
		t.Run(strings.TrimSuffix(name, ".md"), func(t *testing.T) {
			home := t.TempDir()
			if out, err := exec.Command("cp", "-al", seed, filepath.Join(home, ".storage")).CombinedOutput(); err != nil {
				t.Fatalf("cp: %v\n%s", err, out)
			}
			h.runPage(t, name, home, list)
		})
	}
}

// mark separates the outputs of blocks.
const mark = "\x1e"

func (h *host) runPage(t *testing.T, name, home string, list []block) {
	// What is in storage may not be writable.
	t.Cleanup(func() { _ = exec.Command(h.virga, "--storage", filepath.Join(home, ".storage"), "reset").Run() })
	// What the pages call a proxy and a scratch file system is ours.
	scratch := filepath.Join(home, "scratch")
	if err := os.MkdirAll(filepath.Join(scratch, os.Getenv("USER")), 0o700); err != nil {
		t.Fatal(err)
	}
	ours := strings.NewReplacer("proxy.example.org:3128", h.gateway.address(), "/scratch/", scratch+"/")
	theirs := strings.NewReplacer(h.gateway.address(), "proxy.example.org:3128", scratch+"/", "/scratch/")
	var script strings.Builder
	for i, b := range list {
		if b.lang != "sh" {
			continue
		}
		text := ours.Replace(b.text)
		fmt.Fprintf(&script, "printf '%s%d\\n'\n", mark, i)
		if b.fails {
			fmt.Fprintf(&script, "set +e\n(set -e\n%s)\n[ $? -ne 0 ] || { echo 'this does not fail'; exit 1; }\nset -e\n", text)
		} else {
			script.WriteString(text)
		}
	}
	file := filepath.Join(home, ".page.sh")
	if err := os.WriteFile(file, []byte("set -e\n"+script.String()+"printf '"+mark+"end\\n'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "bash", file)
	cmd.Dir, cmd.Env, cmd.WaitDelay = home, h.environment(t, name, home), 10*time.Second
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	err := cmd.Run()
	t.Logf("%s: %.1f s", name, time.Since(start).Seconds())
	// Outputs are by block; the last one that has any is where the page ended.
	at := fmt.Sprintf("%s:%d", name, list[0].line)
	for _, part := range strings.Split(out.String(), mark)[1:] {
		n, text, _ := strings.Cut(part, "\n")
		if n == "end" {
			break
		}
		var i int
		if _, err := fmt.Sscan(n, &i); err != nil {
			t.Fatalf("%s: %q: %v", name, n, err)
		}
		at = fmt.Sprintf("%s:%d", name, list[i].line)
		text = theirs.Replace(text)
		if i+1 < len(list) && list[i+1].lang == "text" {
			if line, lacks := missing(text, list[i+1].text); lacks && err == nil {
				t.Errorf("%s: not printed: %s\n%s", at, line, text)
			}
		}
		if testing.Verbose() && os.Getenv("VIRGA_DOCS_SHOW") != "" {
			t.Logf("%s prints\n%s", at, text)
		}
	}
	if err != nil {
		t.Errorf("%s: %v; its last lines:\n%s", at, err, theirs.Replace(last(out.String()[strings.LastIndex(out.String(), mark)+1:], 30)))
	}
}

// last returns the last n lines of text.
func last(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// environment is that of a user who has just logged in, plus what makes the
// pages' names work.
func (h *host) environment(t *testing.T, page, home string) []string {
	t.Helper()
	trusted := append([]byte(nil), h.gateway.certs[h.open]...)
	// The page about the private registry shows what to do about its certificate.
	if strings.HasSuffix(page, "howto/private-registry.md") {
		if err := os.WriteFile(filepath.Join(home, "site-ca.pem"), h.gateway.certs[h.private], 0o600); err != nil {
			t.Fatal(err)
		}
	} else {
		trusted = append(trusted, h.gateway.certs[h.private]...)
	}
	certs := filepath.Join(home, ".certs.pem")
	if err := os.WriteFile(certs, trusted, 0o600); err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(home, ".tmp")
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"HOME=" + home, "USER=" + os.Getenv("USER"), "LANG=C.UTF-8", "VIRGA_STORAGE=" + filepath.Join(home, ".storage"),
		"PATH=" + h.programs + ":" + filepath.Dir(h.virga) + ":" + os.Getenv("PATH"),
		"SSL_CERT_FILE=" + certs, "SSL_CERT_DIR=" + filepath.Join(home, "none"), "https_proxy=http://" + h.gateway.address(),
		// The stand-ins are no programs of the image, whose /tmp this is.
		"TMPDIR=" + tmp,
	}
	for _, name := range []string{"http_proxy", "HTTP_PROXY"} {
		if v := os.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// Commands in running text and tables have options that exist.
func TestInlineCommands(t *testing.T) {
	h := newHost(t)
	global, err := exec.Command(h.virga, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	help := map[string]string{"": string(global)}
	option := regexp.MustCompile(`^(--[a-z-]+|-[A-Za-z])`)
	for name, text := range pages(t) {
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			line, _, _ := strings.Cut(m[1], "|") // tables have \|
			line, _, _ = strings.Cut(line, " && ")
			words := strings.Fields(line)[1:]
			command, at := "", 0
			for i, w := range words {
				if !strings.HasPrefix(w, "-") {
					command, at = w, i
					break
				}
			}
			if _, ok := help[command]; !ok {
				out, err := exec.Command(h.virga, append(strings.Fields(command), "--help")...).CombinedOutput()
				if err != nil {
					t.Errorf("%s: `%s`: %v\n%s", name, m[1], err, out)
				}
				help[command] = string(out)
			}
			for i, w := range words {
				if w == "--" || i > at && (command == "run" && !strings.HasPrefix(w, "-") && !strings.HasPrefix(words[i-1], "-")) {
					break
				}
				o := option.FindString(w)
				if o != "" && !regexp.MustCompile(`(^|[\s,])`+o+`([\s,=\[]|$)`).MatchString(help[command]+help[""]) {
					t.Errorf("%s: `%s`: virga %s has no option %s", name, m[1], command, o)
				}
			}
		}
	}
}
