package layering

import (
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
	"virga/image":    0,
	"virga/parser":   0,
	"virga/fakeroot": 0,
	"virga/unpriv":   0,
	"virga/layer":    1,
	"virga/registry": 1,
	"virga/storage":  1,
	"virga/archive":  1,
	"virga/build":    2,
	"virga/exchange": 2,
}

// homes are the only packages that import a module directly; a path ending in
// "/" stands for everything below it.
var homes = map[string][]string{
	"github.com/urfave/cli/":                   {"virga/cmd/virga"},
	"github.com/vbauerster/mpb/":               {"virga/cmd/virga"},
	"golang.org/x/term":                        {"virga/cmd/virga"},
	"github.com/google/go-containerregistry/":  {"virga/registry"},
	"github.com/containers/storage/":           {"virga/storage"},
	"github.com/opencontainers/umoci/oci/cas/": {"virga/storage"},
	"github.com/klauspost/":                    {"virga/layer"},
	"github.com/syndtr/gocapability/":          {"virga/unpriv"},
	"golang.org/x/net/bpf":                     {"virga/fakeroot"},
}

// onlyStandard are packages that need nothing but the standard library.
var onlyStandard = []string{"virga/parser"}

// imports lists the direct imports of every package, without those of tests.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...")
	cmd.Dir = moduleRoot(t)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		all[f[0]] = f[1:]
	}
	if len(all) < len(layers)/2 {
		t.Fatalf("go list knows only %d packages", len(all))
	}
	return all
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestArrowsPointDown(t *testing.T) {
	for pkg, list := range imports(t) {
		height, ok := layers[pkg]
		switch {
		case ok:
		case strings.HasPrefix(pkg, "virga/cmd/"):
			height = 3
		case strings.HasPrefix(pkg, "virga/internal/"):
			height = 0
		default:
			t.Errorf("%s has no layer: add it here and in docs/architecture.md", pkg)
			continue
		}
		for _, imp := range list {
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
	for pkg, list := range imports(t) {
		for _, imp := range list {
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

// Libraries do not exit, print to the process's streams or read its
// environment, and none calls the re-exec of containers/storage.
func TestLibrariesStayQuiet(t *testing.T) {
	banned := []string{"os.Exit(", "log.Fatal", "os.Getenv(", "os.LookupEnv(", "fmt.Print(", "fmt.Printf(", "fmt.Println(", "os.Stdout", "MaybeReexecUsingUserNamespace"}
	root := moduleRoot(t)
	seen := 0
	for pkg := range layers {
		files, err := filepath.Glob(filepath.Join(root, strings.TrimPrefix(pkg, "virga/"), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			seen++
			checkFile(t, root, f, banned)
		}
	}
	if seen == 0 {
		t.Fatal("no file was looked at")
	}
}

func checkFile(t *testing.T, root, file string, banned []string) {
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
				rel, _ := filepath.Rel(root, file)
				t.Errorf("%s:%d: %s in a library", rel, n, strings.TrimSuffix(word, "("))
			}
		}
	}
}
