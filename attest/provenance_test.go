package attest

import (
	"encoding/json"
	"testing"
)

func TestUntold(t *testing.T) {
	got, err := json.Marshal(Untold(map[string]string{
		"VERSION": "3", "EMPTY": "", "API_TOKEN": "x", "dbPassword": "x", "https_proxy": "http://proxy:8080", "HTTP_PROXY": "x",
		"SSH_KEY": "x", "URL": "https://ada:geheim@host/p?q=1", "BAD": "https://ada:ge%heim@host", "MAIL": "ada@example.org", "GIT": "git@host:repo",
		"AT": "https://host/@scope/p",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"API_TOKEN":null,"AT":"https://host/@scope/p","BAD":null,"EMPTY":"","GIT":"git@host:repo","HTTP_PROXY":null,"MAIL":"ada@example.org",` +
		`"SSH_KEY":null,"URL":"https://host/p?q=1","VERSION":"3","dbPassword":null,"https_proxy":null}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestImageURI(t *testing.T) {
	for name, want := range map[string]string{
		"debian:bookworm":    "pkg:docker/debian@bookworm?platform=linux%2Famd64",
		"localhost:5000/a/b": "pkg:docker/localhost:5000/a/b?platform=linux%2Famd64",
		"h:5000/a:1":         "pkg:docker/h:5000/a@1?platform=linux%2Famd64",
	} {
		if got := ImageURI(name, "linux/amd64"); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
