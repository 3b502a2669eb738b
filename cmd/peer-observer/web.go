package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/peerobserver/peerobserver/exporters/prometheus"
)

// webFlags are the flags of the web server.
type webFlags struct {
	addresses     []string
	systemdSocket bool
	configFile    string
	telemetryPath string
	maxRequests   int
	pprof         bool
}

func (f *webFlags) register(clause *kingpin.CmdClause, defaultAddress string) {
	clause.Flag("web.listen-address", "Address of the web server, repeatable.").Default(defaultAddress).StringsVar(&f.addresses)
	clause.Flag("web.systemd-socket", "Use the sockets that systemd passes instead of --web.listen-address.").BoolVar(&f.systemdSocket)
	clause.Flag("web.config.file", "File that turns on TLS, client certificates or basic authentication (exporter-toolkit's format).").StringVar(&f.configFile)
	clause.Flag("web.telemetry-path", "Path of the metrics.").Default(prometheus.DefaultTelemetryPath).StringVar(&f.telemetryPath)
	clause.Flag("web.max-requests", "Scrapes served at one time.").Default(fmt.Sprint(prometheus.DefaultMaxRequests)).IntVar(&f.maxRequests)
	clause.Flag("web.pprof", "Serve profiles at /debug/pprof/.").BoolVar(&f.pprof)
}

func (f *webFlags) config() prometheus.Config {
	return prometheus.Config{
		Web: &web.FlagConfig{
			WebListenAddresses: &f.addresses,
			WebSystemdSocket:   &f.systemdSocket,
			WebConfigFile:      &f.configFile,
		},
		TelemetryPath: f.telemetryPath,
		MaxRequests:   f.maxRequests,
		Pprof:         f.pprof,
	}
}

// check finds out before anything starts whether the addresses can be had.
func (f *webFlags) check() error {
	if f.systemdSocket {
		return nil
	}
	for _, address := range f.addresses {
		if strings.HasPrefix(address, "vsock://") {
			continue
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			if errors.Is(err, syscall.EADDRINUSE) {
				err = fmt.Errorf("%w: another program listens there; choose another address with --web.listen-address", err)
			}
			return withCode(exitListen, err)
		}
		if err := listener.Close(); err != nil {
			return err
		}
	}
	return nil
}
