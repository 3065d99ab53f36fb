package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"virga/exchange"
	"virga/image"
	"virga/registry"
	"virga/storage"
)

// registryClient is a client for the registries, with the options, secrets
// and proxies of the caller.
func (env *environment) registryClient(progress registry.Progress) (*registry.Client, error) {
	opts, err := env.registryOptions()
	if err != nil {
		return nil, err
	}
	opts.Progress = progress
	return registry.New(opts)
}

func (env *environment) registryOptions() (registry.Options, error) {
	g := &env.globals
	conf, err := env.registriesConf()
	return registry.Options{
		TLSNoVerify: g.tlsNoVerify, PlainHTTP: g.plainHTTP,
		Auth: g.auth || env.getenv("CH_IMAGE_AUTH") == "yes", AskAlways: g.passwordMany,
		Credentials: env.keychain(), Ask: registry.SourceFunc(env.askSecret),
		Proxy: http.ProxyFromEnvironment, CertDirs: env.certDirs(), Registries: conf,
		UserAgent: "virga/" + programVersion(), Log: env.log,
	}, err
}

// registriesConf is the configuration of the containers tools: what
// $CONTAINERS_REGISTRIES_CONF names, else the user's, else the system's
// (containers-registries.conf(5)).
func (env *environment) registriesConf() (*registry.RegistriesConf, error) {
	if f := env.getenv("CONTAINERS_REGISTRIES_CONF"); f != "" {
		return registry.LoadRegistriesConf(f)
	}
	for _, dir := range []string{env.configDir("containers"), "/etc/containers"} {
		file := filepath.Join(dir, "registries.conf")
		if _, err := os.Stat(file); err == nil {
			return registry.LoadRegistriesConf(file, filepath.Join(dir, "registries.conf.d"))
		}
	}
	return nil, nil
}

// remoteReference reads the name of an image in a registry. A short name is
// what registries.conf says.
func (env *environment) remoteReference(name string) (image.Reference, error) {
	full, err := env.qualify(name)
	if err != nil {
		return image.Reference{}, err
	}
	return parseReference(full)
}

// qualify completes a short name.
func (env *environment) qualify(name string) (string, error) {
	conf, err := env.registriesConf()
	if err != nil {
		return "", err
	}
	return conf.Qualify(name)
}

// keychain reads the credential files of virga, Podman and Docker, in this
// order; login writes the first.
func (env *environment) keychain() *registry.Keychain {
	var files []string
	if f := env.getenv("REGISTRY_AUTH_FILE"); f != "" {
		files = append(files, f)
	}
	if dir := env.getenv("XDG_RUNTIME_DIR"); dir != "" {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	}
	files = append(files, filepath.Join(env.configDir("containers"), "auth.json"))
	docker := env.getenv("DOCKER_CONFIG")
	if docker == "" {
		docker = filepath.Join(env.getenv("HOME"), ".docker")
	}
	return &registry.Keychain{Files: append(files, filepath.Join(docker, "config.json"))}
}

// configDir is the user's configuration directory for a program (XDG base
// directory specification).
func (env *environment) configDir(name string) string {
	if dir := env.getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, name)
	}
	return filepath.Join(env.getenv("HOME"), ".config", name)
}

// certDirs are where docker and the containers tools look for the
// certificates of single registries.
func (env *environment) certDirs() []string {
	return []string{
		filepath.Join(env.configDir("containers"), "certs.d"), filepath.Join(env.getenv("HOME"), ".docker", "certs.d"),
		"/etc/containers/certs.d", "/etc/docker/certs.d",
	}
}

// askSecret gives the secret of the environment, else asks at the terminal.
func (env *environment) askSecret(ctx context.Context, host, repo string) (registry.Credential, error) {
	c, err := env.environmentSecret(ctx, host, repo)
	if err != nil || !c.IsZero() || !env.terminalInput() {
		return c, err
	}
	return env.promptCredential(host, "")
}

// environmentSecret gives the secret of the environment. It is for whatever
// registry refuses strangers.
func (env *environment) environmentSecret(context.Context, string, string) (registry.Credential, error) {
	for _, p := range []string{"VIRGA", "CH_IMAGE"} {
		if user := env.getenv(p + "_USERNAME"); user != "" {
			return registry.Credential{Username: user, Password: env.getenv(p + "_PASSWORD")}, nil
		}
	}
	return registry.Credential{}, nil
}

// withExchange runs do with open storage and a registry client.
func (env *environment) withExchange(ctx context.Context, opts exchange.Options, do func(*storage.Store, *exchange.Exchange) error) (err error) {
	limit, err := env.cacheLimit()
	if err != nil {
		return err
	}
	store, err := env.openStorage(ctx)
	if err != nil {
		return err
	}
	if limit != nil {
		defer env.boundCache(ctx, *limit)
	}
	defer env.closeStorage(store)
	defer env.show.clear()
	client, err := env.registryClient(env.show)
	if err != nil {
		return err
	}
	defer client.Close()
	if opts.Trust.Keyless == nil { // without options there is still the policy
		if opts.Trust, err = (&trustOptions{}).trust(env); err != nil {
			return err
		}
	}
	opts.AlwaysDownload, opts.Yolo = env.globals.alwaysDownload, env.globals.anyPlatform
	opts.Log = env.log
	return do(store, exchange.New(store, client, opts))
}

// withRegistry runs do with a registry client alone: nothing is stored.
func (env *environment) withRegistry(t exchange.Trust, do func(*exchange.Exchange) error) error {
	client, err := env.registryClient(nil)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(exchange.New(nil, client, exchange.Options{Trust: t, Log: env.log}))
}

// terminalInput reports whether questions can be asked.
func (env *environment) terminalInput() bool {
	f, ok := env.stdin.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

var errNoTerminal = errors.New("cannot ask for a secret: standard input is not a terminal")

// promptCredential asks for what is missing; the secret is not echoed.
func (env *environment) promptCredential(host, user string) (registry.Credential, error) {
	f, ok := env.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return registry.Credential{}, errNoTerminal
	}
	defer env.show.pause()()
	if user == "" {
		fmt.Fprintf(env.stderr, "Username for %s: ", host)
		if _, err := fmt.Fscanln(f, &user); err != nil {
			return registry.Credential{}, fmt.Errorf("read user name: %w", err)
		}
	}
	fmt.Fprintf(env.stderr, "Password for %s: ", user)
	secret, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(env.stderr)
	if err != nil {
		return registry.Credential{}, fmt.Errorf("read password: %w", err)
	}
	return registry.Credential{Username: user, Password: string(secret)}, nil
}
