package main

import (
	"fmt"
	"os"
	"strings"

	"virga/build"
)

// parseSecrets reads --secret: id=ID[,type=file|env][,src=FILE|,env=NAME].
// Without source it is the variable called ID, else the file called ID.
func parseSecrets(env *environment, list []string) (map[string]build.Secret, error) {
	out := map[string]build.Secret{}
	for _, s := range list {
		opts := map[string]string{}
		for part := range strings.SplitSeq(s, ",") {
			k, v, ok := strings.Cut(part, "=")
			switch {
			case !ok, k != "id" && k != "src" && k != "source" && k != "env" && k != "type":
				return nil, usagef("--secret %q: %q is not id=, src=, env= or type=", s, part)
			case k == "source":
				k = "src"
			}
			opts[k] = v
		}
		id, src, name := opts["id"], opts["src"], opts["env"]
		if id == "" {
			return nil, usagef("--secret %q has no id", s)
		}
		if opts["type"] == "env" && name == "" {
			name, src = src, ""
		}
		if _, ok := env.lookupEnv(id); ok && src == "" && name == "" {
			name = id
		}
		if name != "" {
			value, ok := env.lookupEnv(name)
			if !ok {
				return nil, fmt.Errorf("--secret %s: $%s is not set", id, name)
			}
			out[id] = build.Secret{Value: []byte(value)}
			continue
		}
		if src == "" {
			src = id
		}
		if _, err := os.Stat(env.abs(src)); err != nil {
			return nil, fmt.Errorf("--secret %s: no such file: %q", id, src)
		}
		out[id] = build.Secret{File: env.abs(src)}
	}
	return out, nil
}

// parseSSH reads --ssh: ID, whose agent is that of the caller, or ID=SOCKET.
func parseSSH(env *environment, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range list {
		id, sock, ok := strings.Cut(s, "=")
		if !ok {
			sock = env.getenv("SSH_AUTH_SOCK")
		}
		if sock == "" {
			return nil, fmt.Errorf("--ssh %s: there is no agent: $SSH_AUTH_SOCK is not set", id)
		}
		fi, err := os.Stat(env.abs(sock))
		if err != nil || fi.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("--ssh %s: %q is not the socket of an agent", id, sock)
		}
		out[id] = env.abs(sock)
	}
	return out, nil
}
