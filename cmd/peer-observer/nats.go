package main

import (
	"fmt"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/peerobserver/peerobserver/exporters/nats"
)

// natsFlags are the flags that say how to reach a NATS server.
type natsFlags struct {
	url, user, passwordFile, creds, nkey string
	tlsCA, tlsCert, tlsKey               string
	prefix                               string
}

// register declares the flags. A tool has a default server, the agent embeds one.
func (f *natsFlags) register(clause *kingpin.CmdClause, tool bool) {
	if tool {
		clause.Flag("nats.url", "URL of the NATS server, or a comma-separated list of URLs.").Default(nats.DefaultURL).StringVar(&f.url)
	} else {
		clause.Flag("nats.url", "URL of an existing NATS server, or a comma-separated list of URLs; without it the agent runs a server of its own.").StringVar(&f.url)
	}
	clause.Flag("nats.user", "User for NATS.").StringVar(&f.user)
	clause.Flag("nats.password-file", "File with the password for --nats.user in its first line.").StringVar(&f.passwordFile)
	clause.Flag("nats.creds", "Credentials file (user JWT and seed) for NATS.").StringVar(&f.creds)
	clause.Flag("nats.nkey", "File with the seed of a user NKey for NATS.").StringVar(&f.nkey)
	clause.Flag("nats.tls-ca", "File with the certificates that sign the NATS server's.").StringVar(&f.tlsCA)
	clause.Flag("nats.tls-cert", "File with the client certificate for NATS.").StringVar(&f.tlsCert)
	clause.Flag("nats.tls-key", "File with the key of --nats.tls-cert.").StringVar(&f.tlsKey)
	clause.Flag("nats.subject-prefix", "Text before each subject, such as node1. with its full stop; tools may use * for any.").StringVar(&f.prefix)
}

func (f *natsFlags) config(name string) nats.Config {
	return nats.Config{
		URL: f.url, User: f.user, PasswordFile: f.passwordFile, Credentials: f.creds, NKey: f.nkey,
		TLSCA: f.tlsCA, TLSCert: f.tlsCert, TLSKey: f.tlsKey, Name: name,
	}
}

// check finds files that can't be read, which no waiting will mend.
func (f *natsFlags) check() error {
	for _, file := range []struct{ flag, path string }{
		{"--nats.password-file", f.passwordFile},
		{"--nats.creds", f.creds},
		{"--nats.nkey", f.nkey},
		{"--nats.tls-ca", f.tlsCA},
		{"--nats.tls-cert", f.tlsCert},
		{"--nats.tls-key", f.tlsKey},
	} {
		if file.path == "" {
			continue
		}
		opened, err := os.Open(file.path)
		if err != nil {
			return withCode(exitUsage, fmt.Errorf("%s: %w", file.flag, err))
		}
		if err := opened.Close(); err != nil {
			return withCode(exitUsage, fmt.Errorf("%s: %w", file.flag, err))
		}
	}
	return nil
}
