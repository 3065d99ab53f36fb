package layering

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers gives each package its height. A package imports lower ones only,
// never one of its own height.
var layers = map[string]int{
	"virga/image":         0,
	"virga/parser":        0,
	"virga/fakeroot":      0,
	"virga/unpriv":        0,
	"virga/layer/inflate": 0,
	"virga/emulate":       1,
	"virga/progress":      0,
	"virga/attest":        0,
	"virga/trust":         1,
	"virga/layer":         1,
	"virga/registry":      1,
	"virga/archive":       1,
	"virga/storage":       1,
	"virga/build":         2,
	"virga/exchange":      2,
	"virga/keyless":       2,
}

// homes are the only packages that import a module directly; a path ending in
// "/" stands for everything below it.
var homes = map[string][]string{
	"github.com/urfave/cli/":                   {"virga/cmd/virga"},
	"github.com/mattn/go-runewidth":            {"virga/progress"},
	"golang.org/x/term":                        {"virga/cmd/virga"},
	"github.com/google/go-containerregistry/":  {"virga/registry"},
	"github.com/containers/storage/":           {"virga/storage"},
	"github.com/opencontainers/umoci/oci/cas/": {"virga/storage"},
	"github.com/klauspost/":                    {"virga/layer", "virga/layer/inflate"},
	"github.com/syndtr/gocapability/":          {"virga/unpriv"},
	"golang.org/x/net/bpf":                     {"virga/fakeroot"},
	"github.com/secure-systems-lab/":           {"virga/trust"},
	"github.com/sigstore/":                     {"virga/keyless"},
}

// onlyStandard are packages that need nothing but the standard library.
var onlyStandard = []string{"virga/parser"}

// listed is what `go list -json` says about a package; tests are left out.
type listed struct {
	ImportPath, Dir  string
	Imports, GoFiles []string
}

func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "virga/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p listed
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < len(layers)/2 {
		t.Fatalf("go list knows only %d packages", len(all))
	}
	return all
}

func TestArrowsPointDown(t *testing.T) {
	for _, p := range list(t) {
		pkg := p.ImportPath
		height, ok := layers[pkg]
		switch {
		case ok:
		case strings.HasPrefix(pkg, "virga/cmd/"), strings.HasPrefix(pkg, "virga/test/"), pkg == "virga/bench":
			height = 3
		case strings.HasPrefix(pkg, "virga/internal/"):
			height = 0
		default:
			t.Errorf("%s has no layer: add it here and in docs/architecture.md", pkg)
			continue
		}
		for _, imp := range p.Imports {
			if h, ok := layers[imp]; ok && h >= height {
				t.Errorf("%s (layer %d) imports %s (layer %d)", pkg, height, imp, h)
			}
			if strings.HasPrefix(imp, "virga/cmd/") {
				t.Errorf("%s imports the command %s", pkg, imp)
			}
		}
	}
}

func TestDependenciesAreAtHome(t *testing.T) {
	for _, p := range list(t) {
		pkg := p.ImportPath
		for _, imp := range p.Imports {
			for dep, home := range homes {
				below := strings.HasSuffix(dep, "/") && strings.HasPrefix(imp+"/", dep)
				if (imp == dep || below) && !slices.Contains(home, pkg) {
					t.Errorf("%s imports %s, which is for %s alone", pkg, imp, strings.Join(home, ", "))
				}
			}
			host, _, _ := strings.Cut(imp, "/")
			if slices.Contains(onlyStandard, pkg) && (strings.Contains(host, ".") || host == "virga") {
				t.Errorf("%s imports %s; it needs the standard library alone", pkg, imp)
			}
		}
	}
}

// What costs every start of a program is not linked by virga.
func TestVirgaStartsFast(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "virga/cmd/virga").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for p := range strings.Lines(string(out)) {
		for _, slow := range []string{"github.com/sigstore/", "google.golang.org/grpc", "virga/keyless"} {
			if strings.HasPrefix(p, slow) {
				t.Errorf("virga links %s", strings.TrimSpace(p))
			}
		}
	}
}

// Libraries do not exit, print to the process's streams or read its
// environment, and none calls the re-exec of containers/storage.
func TestLibrariesStayQuiet(t *testing.T) {
	banned := []string{"os.Exit(", "log.Fatal", "os.Getenv(", "os.LookupEnv(", "fmt.Print(", "fmt.Printf(", "fmt.Println(", "(os.Stdout", "(os.Stderr", "MaybeReexecUsingUserNamespace"}
	seen := 0
	for _, p := range list(t) {
		if _, ok := layers[p.ImportPath]; !ok {
			continue
		}
		for _, f := range p.GoFiles {
			seen++
			checkFile(t, p.ImportPath, filepath.Join(p.Dir, f), banned)
		}
	}
	if seen == 0 {
		t.Fatal("no file was looked at")
	}
}

func checkFile(t *testing.T, pkg, file string, banned []string) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		code, _, _ := strings.Cut(line, "//")
		for _, word := range banned {
			if strings.Contains(code, word) {
				t.Errorf("%s: %s:%d: %s in a library", pkg, filepath.Base(file), n, strings.TrimSuffix(word, "("))
			}
		}
	}
}
