package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"virga/progress"
)

func configCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:        "config",
		Usage:       "print the settings, and where each comes from",
		Description: "A line for each setting: its name, its value, and its source. Nothing is changed.",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, ""); err != nil {
				return err
			}
			return runConfig(c.Context, env)
		},
	}
}

// setting is one line of config.
type setting struct{ name, value, source string }

func runConfig(_ context.Context, env *environment) error {
	list, err := env.settings()
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(env.stdout, 0, 8, 2, ' ', 0)
	for _, s := range list {
		if s.value == "" {
			s.value = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", s.name, progress.Clean(s.value), progress.Clean(s.source))
	}
	return tw.Flush()
}

func (env *environment) settings() ([]setting, error) {
	s, err := env.readSite()
	if err != nil {
		return nil, err
	}
	dir, source, err := env.storageSource(s)
	if err != nil {
		return nil, err
	}
	list := []setting{{"storage", dir, source}, {"platform", env.globals.platform.String(), "host, unless --arch or --platform is given"}}
	for _, b := range s.binds {
		list = append(list, setting{"bind", b, s.file})
	}
	if s.file == "" {
		list = append(list, setting{"site file", "", env.siteFile + " does not exist"})
	} else {
		list = append(list, setting{"site file", s.file, "found"})
	}
	list = append(list, setting{"progress", env.progressMode(), "--progress, -v, -q, the terminal"})
	list = append(list,
		firstFound("registries.conf", env.getenv("CONTAINERS_REGISTRIES_CONF"), filepath.Join(env.configDir("containers"), "registries.conf"), "/etc/containers/registries.conf"),
		firstFound("signature policy", env.policyFiles()...))
	for _, f := range env.keychain().Files {
		if _, err := os.Stat(f); err == nil {
			list = append(list, setting{"credentials", f, "found"})
		}
	}
	for _, name := range []string{"VIRGA_CACHE_MAX", "VIRGA_USERNAME", "CH_IMAGE_USERNAME", "CH_IMAGE_AUTH", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "SOURCE_DATE_EPOCH", "VIRGA_LOG_FILE", "CH_LOG_FILE", "CH_LOG_FESTOON", "NO_COLOR"} {
		if v := env.getenv(name); v != "" {
			list = append(list, setting{strings.ToLower(name), withoutPassword(v), "$" + name})
		}
	}
	return list, nil
}

// firstFound is the setting of the first file that exists.
func firstFound(name string, files ...string) setting {
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			return setting{name, f, "found"}
		}
	}
	return setting{name, "", "none found"}
}

// withoutPassword hides the password in an address.
func withoutPassword(s string) string {
	if u, err := url.Parse(s); err == nil && u.User != nil {
		return u.Redacted()
	}
	return s
}
