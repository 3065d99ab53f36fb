package registry

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func authOf(user, pass string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + pass))
}

func TestKeychainGet(t *testing.T) {
	dir := t.TempDir()
	docker, containers := filepath.Join(dir, "config.json"), filepath.Join(dir, "auth.json")
	write(t, docker, []byte(`{"auths":{
		"https://index.docker.io/v1/":{"auth":"`+authOf("hub", "p:w")+`"},
		"https://old.example.org/v2/":{"auth":"`+strings.TrimRight(authOf("olduser", "x"), "=")+`"},
		"plain.example.org":{"username":"u","password":"p"},
		"token.example.org":{"auth":"`+authOf("<token>", "")+`","identitytoken":"idt"},
		"reg.example.org":{"registrytoken":"rt"},
		"empty.example.org":{},
		"both.example.org":{"auth":"`+authOf("docker", "x")+`"}
	},"detachKeys":"ctrl-e"}`))
	write(t, containers, []byte(`{"auths":{
		"site.example.org:5000":{"auth":"`+authOf("host", "x")+`"},
		"site.example.org:5000/team":{"auth":"`+authOf("team", "x")+`"},
		"site.example.org:5000/team/app":{"auth":"`+authOf("app", "x")+`"},
		"both.example.org":{"auth":"`+authOf("containers", "x")+`"},
		"empty.example.org":{"auth":"`+authOf("later", "x")+`"}
	}}`))
	k := &Keychain{Files: []string{filepath.Join(dir, "missing"), docker, containers}}
	tests := []struct {
		host, repo string
		want       Credential
	}{
		{"docker.io", "library/debian", Credential{Username: "hub", Password: "p:w"}},
		{"old.example.org", "a", Credential{Username: "olduser", Password: "x"}},
		{"plain.example.org", "a", Credential{Username: "u", Password: "p"}},
		{"token.example.org", "a", Credential{Username: "<token>", IdentityToken: "idt"}},
		{"reg.example.org", "a", Credential{RegistryToken: "rt"}},
		{"empty.example.org", "a", Credential{Username: "later", Password: "x"}},
		{"both.example.org", "a", Credential{Username: "docker", Password: "x"}},
		{"site.example.org:5000", "", Credential{Username: "host", Password: "x"}},
		{"site.example.org:5000", "other", Credential{Username: "host", Password: "x"}},
		{"site.example.org:5000", "team/b", Credential{Username: "team", Password: "x"}},
		{"site.example.org:5000", "team/app", Credential{Username: "app", Password: "x"}},
		{"site.example.org:5000", "team/app/deep", Credential{Username: "app", Password: "x"}},
		{"site.example.org:5000", "teamwork", Credential{Username: "host", Password: "x"}},
		{"site.example.org", "team", Credential{}},
		{"example.org", "a", Credential{}},
	}
	for _, tt := range tests {
		got, err := k.Get(t.Context(), tt.host, tt.repo)
		if err != nil || got != tt.want {
			t.Errorf("%s/%s: user %q, %v; want %q", tt.host, tt.repo, got.Username, err, tt.want.Username)
		}
	}
}

func TestKeychainBadFiles(t *testing.T) {
	for name, content := range map[string]string{
		"no JSON":     `{"auths":{"h.example.org":{"auth":"aHVzaDpodXNo"`,
		"wrong type":  `{"auths":{"h.example.org":"aHVzaDpodXNo"}}`,
		"no base64":   `{"auths":{"h.example.org":{"auth":"aHVzaDpodXNo!"}}}`,
		"no password": `{"auths":{"h.example.org":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("hush")) + `"}}}`,
	} {
		path := filepath.Join(t.TempDir(), "auth.json")
		write(t, path, []byte(content))
		k := &Keychain{Files: []string{path}}
		_, err := k.Get(t.Context(), "h.example.org", "a")
		if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "aHVz") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "auth.json")
	write(t, path, nil)
	if c, err := (&Keychain{Files: []string{path}}).Get(t.Context(), "h", ""); err != nil || !c.IsZero() {
		t.Errorf("empty file: %v", err)
	}
}

func TestStoreAndErase(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "dotfiles", "config.json"), filepath.Join(dir, "home", ".docker", "config.json")
	write(t, real, []byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"b2xkOm9sZA=="},"docker.io":{"auth":"b2xkOm9sZA=="}},"psFormat":"table {{.ID}}"}`))
	if err := os.Chmod(real, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	k := &Keychain{Files: []string{link, filepath.Join(dir, "none", "auth.json")}}
	want := map[string]Credential{
		"docker.io":         jane,
		"h.example.org:5":   {Username: "u", Password: "with:colon"},
		"h.example.org/a/b": {Username: "path", Password: "x"},
		"t.example.org":     {IdentityToken: "idt"},
	}
	for server, c := range want {
		if err := k.Store(t.Context(), server, c); err != nil {
			t.Fatal(err)
		}
	}
	for server, c := range want {
		host, repo, _ := strings.Cut(server, "/")
		if got, err := k.Get(t.Context(), host, repo); err != nil || got != c {
			t.Errorf("%s: user %q, %v", server, got.Username, err)
		}
	}
	fi, err := os.Stat(real)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want mode 0600", fi.Mode(), err)
	}
	if fi, err := os.Lstat(link); err != nil || fi.Mode().Type() != os.ModeSymlink {
		t.Error("the symbolic link was replaced")
	}
	var doc map[string]any
	b, _ := os.ReadFile(real)
	if err := json.Unmarshal(b, &doc); err != nil || doc["psFormat"] != "table {{.ID}}" {
		t.Errorf("other members were lost: %s", b)
	}
	if n := len(doc["auths"].(map[string]any)); n != 4 {
		t.Errorf("%d entries, want 4: %s", n, b)
	}
	for server := range want {
		if had, err := k.Erase(t.Context(), server); err != nil || !had {
			t.Errorf("erase %s: %v, %v", server, had, err)
		}
		if had, err := k.Erase(t.Context(), server); err != nil || had {
			t.Errorf("erase %s again: %v, %v", server, had, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error("erasing made a directory")
	}
	left, err := filepath.Glob(filepath.Join(dir, "dotfiles", "*"))
	hidden, _ := filepath.Glob(filepath.Join(dir, "dotfiles", ".*"))
	if err != nil || len(left)+len(hidden) != 2 {
		t.Errorf("left over: %q %q, want the file and its lock", left, hidden)
	}
}

func TestConcurrentLoginsLoseNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "auth.json")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			k := &Keychain{Files: []string{path}}
			if err := k.Store(t.Context(), fmt.Sprintf("h%d.example.org", i), jane); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f, err := readAuthFile(path)
	if err != nil || len(f.Auths) != 20 {
		t.Errorf("%d entries, %v; want 20", len(f.Auths), err)
	}
}

// helperScript is a credential helper that keeps one secret per server in
// files of its directory.
const helperScript = `#!/bin/sh
read -r in
file() { printf '%s' "$1" | tr -c 'a-z0-9.' _; }
cd "$(dirname "$0")" || exit 3
case $1 in
get) f=$(file "$in"); if [ -e "$f" ]; then cat "$f"; else echo 'credentials not found in native keychain'; exit 1; fi ;;
store) s=${in#*ServerURL\":\"}; f=$(file "${s%%\"*}"); printf '%s' "$in" > "$f" ;;
erase) rm "$(file "$in")" ;;
esac
`

func TestCredentialHelpers(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-box"), []byte(helperScript), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-broken"), []byte("#!/bin/sh\necho the box is locked >&2; exit 2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	write(t, path, []byte(`{"credsStore":"box","credHelpers":{"locked.example.org":"broken","evil.example.org":"../../bin/x","gone.example.org":"gone"},
		"auths":{"file.example.org":{"auth":"`+authOf("file", "x")+`"},"h.example.org":{"auth":"`+authOf("stale", "x")+`"}}}`))
	k := &Keychain{Files: []string{path}, LookPath: func(p string) (string, error) {
		full := filepath.Join(bin, p)
		_, err := os.Stat(full)
		return full, err
	}}
	token := Credential{IdentityToken: "idt"}
	for server, c := range map[string]Credential{"docker.io": jane, "h.example.org": jane, "t.example.org": token} {
		if err := k.Store(t.Context(), server, c); err != nil {
			t.Fatal(err)
		}
		if got, err := k.Get(t.Context(), server, "a"); err != nil || got != c {
			t.Errorf("%s: user %q, %v", server, got.Username, err)
		}
	}
	if b, _ := os.ReadFile(path); strings.Contains(string(b), authOf("jane", "secret")) {
		t.Error("the secret is in the file, not in the helper")
	}
	if c, err := k.Get(t.Context(), "nobody.example.org", ""); err != nil || !c.IsZero() {
		t.Errorf("unknown server: %v", err)
	}
	if c, err := k.Get(t.Context(), "file.example.org", ""); err != nil || c.Username != "file" {
		t.Errorf("entry in the file: %v", err)
	}
	if had, err := k.Erase(t.Context(), "h.example.org"); err != nil || !had {
		t.Errorf("erase: %v, %v", had, err)
	}
	if c, err := k.Get(t.Context(), "h.example.org", ""); err != nil || !c.IsZero() {
		t.Errorf("erased: user %q, %v", c.Username, err)
	}
	for host, says := range map[string]string{"locked.example.org": "the box is locked", "evil.example.org": "not a name", "gone.example.org": "no such file"} {
		if _, err := k.Get(t.Context(), host, ""); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", host, err, says)
		}
	}
}

func TestServerHost(t *testing.T) {
	for in, want := range map[string]string{
		"": "docker.io", "docker.io": "docker.io", "https://index.docker.io/v1/": "docker.io", "registry-1.docker.io:443": "docker.io",
		"https://h.example.org:5000/v2/": "h.example.org:5000", "h.example.org/a/b": "h.example.org", "http://127.0.0.1:5000": "127.0.0.1:5000",
	} {
		if got := ServerHost(in); got != want {
			t.Errorf("ServerHost(%q) = %q, want %q", in, got, want)
		}
	}
}
