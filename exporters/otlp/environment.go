package otlp

import (
	"fmt"
	"strings"
)

// protocol is how OTLP is spoken.
type protocol string

// The protocols that OpenTelemetry's specification requires.
const (
	protocolNone protocol = ""
	protocolGRPC protocol = "grpc"
	protocolHTTP protocol = "http/protobuf"
)

// environment is what the OTEL_* variables ask for, as far as the SDK's exporters
// don't read them themselves (endpoints, headers, certificates, time limits).
type environment struct {
	// metrics and traces are the protocols; protocolNone when not asked for.
	metrics, traces protocol
	// exponential asks for exponential histograms instead of those with buckets.
	exponential bool
}

// The forms of histograms in OpenTelemetry's specification.
const (
	variableHistograms   = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
	histogramExplicit    = "explicit_bucket_histogram"
	histogramExponential = "base2_exponential_bucket_histogram"
)

// readEnvironment reads the variables of OpenTelemetry's specification. Without any
// that names an endpoint or an exporter nothing is sent: the specification's default,
// a collector on this machine, would mean an error a minute for everybody who has none.
func readEnvironment(lookup func(string) string) (environment, error) {
	var env environment
	if strings.EqualFold(lookup("OTEL_SDK_DISABLED"), "true") {
		return env, nil
	}
	var err error
	if env.metrics, err = signalProtocol(lookup, "METRICS"); err != nil {
		return environment{}, err
	}
	if env.traces, err = signalProtocol(lookup, "TRACES"); err != nil {
		return environment{}, err
	}
	if env.metrics == protocolNone {
		return env, nil
	}
	switch form := strings.ToLower(strings.TrimSpace(lookup(variableHistograms))); form {
	case "", histogramExplicit:
	case histogramExponential:
		env.exponential = true
	default:
		return environment{}, fmt.Errorf("%s is %q: use %s or %s", variableHistograms, form, histogramExplicit, histogramExponential)
	}
	return env, nil
}

func signalProtocol(lookup func(string) string, signal string) (protocol, error) {
	variable := "OTEL_" + signal + "_EXPORTER"
	switch exporter := strings.TrimSpace(lookup(variable)); exporter {
	case "none":
		return protocolNone, nil
	case "otlp":
	case "":
		if lookup("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && lookup("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") == "" {
			return protocolNone, nil
		}
	default:
		return protocolNone, fmt.Errorf("%s is %q: use otlp or none (Prometheus scrapes /metrics without it)", variable, exporter)
	}
	for _, variable := range []string{"OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch p := protocol(strings.TrimSpace(lookup(variable))); p {
		case "":
		case protocolGRPC, protocolHTTP:
			return p, nil
		default:
			return protocolNone, fmt.Errorf("%s is %q: use %s or %s", variable, string(p), protocolGRPC, protocolHTTP)
		}
	}
	return protocolHTTP, nil
}
