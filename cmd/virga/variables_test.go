package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// libraryVariables are read by packages that are not ours: net/http,
// crypto/x509, os/exec.
var libraryVariables = []string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "PATH"}

// callersChoice are the functions that look up names which the user gives:
// --build-arg K, --secret env=K, --env K, $K in the site's file.
var callersChoice = []string{"parseBuildArgs", "parseSecrets", "change", "storageDir"}

// The variables that the code reads are those of virga(1) and of the
// reference, no more and no fewer. Upper and lower case are one.
func TestVariablesAreDocumented(t *testing.T) {
	read := map[string]bool{}
	for _, name := range libraryVariables {
		read[name] = true
	}
	for _, dir := range []string{"cmd/virga", "archive", "build", "emulate", "exchange", "fakeroot", "image", "layer", "progress", "registry", "storage", "trust", "unpriv"} {
		for _, name := range variablesOf(t, filepath.Join("../..", dir)) {
			read[strings.ToUpper(name)] = true
		}
	}
	want := slices.Sorted(maps.Keys(read))
	name := regexp.MustCompile(`\b[A-Z][A-Z0-9_]+\b`)
	for _, doc := range []struct{ file, from, to, head string }{
		{"../../docs/man/virga.1", "\n.SH ENVIRONMENT\n", "\n.SH ", `(?m)^\.TP\n(.*)$`},
		{"../../docs/reference.md", "\n## Environment variables\n", "\n## ", "(?m)^\\| (`[^|]*) \\|"},
	} {
		text, err := os.ReadFile(doc.file)
		if err != nil {
			t.Fatal(err)
		}
		_, section, _ := strings.Cut(string(text), doc.from)
		section, _, _ = strings.Cut(section, doc.to)
		got := map[string]bool{}
		for _, m := range regexp.MustCompile(doc.head).FindAllStringSubmatch(section, -1) {
			for _, n := range name.FindAllString(plainRoff(m[1]), -1) {
				got[n] = true
			}
		}
		for _, n := range want {
			if !got[n] {
				t.Errorf("%s lacks $%s, which the code reads", doc.file, n)
			}
		}
		for n := range got {
			if !read[n] {
				t.Errorf("%s has $%s, which no code reads", doc.file, n)
			}
		}
	}
}

// variablesOf are the names of variables that a package's code asks for: the
// arguments of getenv and lookupEnv, constants or one of a list that is gone
// through.
func variablesOf(t *testing.T, dir string) []string {
	t.Helper()
	set := token.NewFileSet()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	lists := map[string][]string{} // by the name of a variable, whole lists and single elements
	var parsed []*ast.File
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, f, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
		ast.Inspect(file, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
				lists[v.Names[0].Name] = stringsOf(v.Values[0])
			}
			return true
		})
	}
	var out []string
	for _, file := range parsed {
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || slices.Contains(callersChoice, fn.Name.Name) {
				continue
			}
			local := maps.Clone(lists)
			ast.Inspect(fn, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.RangeStmt:
					if v, ok := n.Value.(*ast.Ident); ok {
						local[v.Name] = stringsOf(n.X)
						if x, ok := n.X.(*ast.Ident); ok {
							local[v.Name] = lists[x.Name]
						}
					}
				case *ast.CallExpr:
					if arg := lookedUp(n); arg != nil {
						names := valuesOf(arg, local)
						if len(names) == 0 {
							t.Errorf("%s: which variables are read here? See callersChoice", set.Position(n.Pos()))
						}
						out = append(out, names...)
					}
				}
				return true
			})
		}
	}
	return out
}

// lookedUp is the name in a call that looks into the process's environment.
func lookedUp(call *ast.CallExpr) ast.Expr {
	f, ok := call.Fun.(*ast.SelectorExpr)
	switch {
	case !ok:
		return nil
	case len(call.Args) == 1 && slices.Contains([]string{"getenv", "lookupEnv", "Getenv", "LookupEnv"}, f.Sel.Name):
		return call.Args[0]
	case len(call.Args) == 2 && f.Sel.Name == "Getenv": // image.Getenv(host, name): a build's copy of it
		if x, ok := call.Args[0].(*ast.Ident); ok && x.Name == "host" {
			return call.Args[1]
		}
	}
	return nil
}

// stringsOf are the string constants in an expression.
func stringsOf(e ast.Expr) []string {
	var out []string
	ast.Inspect(e, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if s, err := strconv.Unquote(l.Value); err == nil {
				out = append(out, s)
			}
		}
		return true
	})
	return out
}

// valuesOf are the values that an expression of constants, names of lists and
// + can have.
func valuesOf(e ast.Expr, lists map[string][]string) []string {
	switch e := e.(type) {
	case *ast.BasicLit:
		return stringsOf(e)
	case *ast.Ident:
		return lists[e.Name]
	case *ast.BinaryExpr:
		var out []string
		for _, a := range valuesOf(e.X, lists) {
			for _, b := range valuesOf(e.Y, lists) {
				out = append(out, a+b)
			}
		}
		return out
	}
	return nil
}
