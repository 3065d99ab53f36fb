package progress

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// The document of the stream has a row for each kind of event, and names each
// member.
func TestEventsAreDocumented(t *testing.T) {
	source, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../docs/progress.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`(?m)^\t\w+ +Kind = "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(kinds) < 11 {
		t.Fatalf("found %d kinds in event.go", len(kinds))
	}
	for _, k := range kinds {
		if !strings.Contains(string(doc), "\n| `"+k[1]+"` |") {
			t.Errorf("docs/progress.md has no row for %q", k[1])
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Event]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/progress.md does not name the member %q", name)
		}
	}
}
