package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/tidelay/tidelay/pkg/webhook"
)

// options is the command line.
type options struct {
	agentImage  string
	config      string
	webhookPort int
	healthAddr  string
	metricsAddr string
	namespace   string
	webhookName string
	serviceName string
	drain       time.Duration
	missedCheck time.Duration
	kubeconfig  string
	logLevel    string
	logFormat   string
	version     bool
}

// flags returns the flag set that fills o.
func (o *options) flags(getenv func(string) string) *pflag.FlagSet {
	f := pflag.NewFlagSet("injector", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.StringVar(&o.agentImage, "agent-image", "", "image of the agent where --config names none; required")
	f.StringVar(&o.config, "config", "", "file that says how to inject, followed while it changes; empty for the defaults")
	f.IntVar(&o.webhookPort, "webhook-port", 9443, "TCP port of the webhook, 1 to 65535")
	f.StringVar(&o.healthAddr, "health-addr", ":8081", "address of /healthz and /readyz")
	f.StringVar(&o.metricsAddr, "metrics-addr", ":8080", "address of /metrics")
	f.StringVar(&o.namespace, "namespace", getenv("POD_NAMESPACE"), "namespace the injector runs in and keeps its CA in; $POD_NAMESPACE unless given")
	f.StringVar(&o.webhookName, "webhook-name", "tidelay-injector", "name of the MutatingWebhookConfiguration; the CA's Secret is called this with \"-ca\"")
	f.StringVar(&o.serviceName, "service-name", "tidelay-injector", "name of the Service in front of the webhook")
	f.DurationVar(&o.drain, "drain", 10*time.Second, "how long to keep serving after SIGTERM, 0s to 1m")
	f.DurationVar(&o.missedCheck, "missed-check", 30*time.Second, "how often to look for running pods that were missed, 1s to 1h; 0s for never")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "path of a kubeconfig; empty means the pod's service account")
	f.StringVar(&o.logLevel, "log-level", "info", "info or debug")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	return f
}

func usage() string {
	var o options
	return "Usage: injector --agent-image=IMAGE [flags]\n\n" + o.flags(func(string) string { return "" }).FlagUsages()
}

// parse reads and checks the command line. The error is pflag.ErrHelp if help
// was asked for, and otherwise names every bad flag, its value and what is
// accepted.
func parse(args []string, getenv func(string) string) (options, error) {
	var o options
	flags := o.flags(getenv)
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: want flags only", flags.Arg(0))
	}
	if o.version {
		return o, nil
	}
	return o, o.validate()
}

func (o options) validate() error {
	var problems []error
	check := func(ok bool, flag, value, want string) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s %q: want %s", flag, value, want))
		}
	}
	check(webhook.IsImage(o.agentImage), "agent-image", o.agentImage, "an image reference such as tidelay/agent:v1")
	check(o.webhookPort >= 1 && o.webhookPort <= 65535, "webhook-port", strconv.Itoa(o.webhookPort), "1 to 65535")
	check(isAddress(o.healthAddr), "health-addr", o.healthAddr, "an address such as :8081 or 127.0.0.1:8081")
	check(isAddress(o.metricsAddr), "metrics-addr", o.metricsAddr, "an address such as :8080 or 127.0.0.1:8080")
	check(isLabel(o.namespace), "namespace", o.namespace, "the name of a namespace, or $POD_NAMESPACE set")
	check(isSubdomain(o.webhookName), "webhook-name", o.webhookName, "the name of a MutatingWebhookConfiguration")
	check(isLabel(o.serviceName), "service-name", o.serviceName, "the name of a Service")
	check(o.drain >= 0 && o.drain <= time.Minute, "drain", o.drain.String(), "0s to 1m")
	check(o.missedCheck == 0 || o.missedCheck >= time.Second && o.missedCheck <= time.Hour, "missed-check", o.missedCheck.String(), "1s to 1h, or 0s for never")
	check(o.logLevel == "info" || o.logLevel == "debug", "log-level", o.logLevel, "info or debug")
	check(o.logFormat == "text" || o.logFormat == "json", "log-format", o.logFormat, "text or json")
	return errors.Join(problems...)
}

// defaults is what the configuration file need not say.
func (o options) defaults() webhook.Config {
	return webhook.Config{Image: o.agentImage, PullPolicy: corev1.PullIfNotPresent, Resources: webhook.DefaultResources(), Version: version}
}

// logger returns a logger that writes to w, and makes it everybody's: that of
// controller-runtime, of client-go (klog) and of the standard library.
func (o options) logger(w io.Writer) logr.Logger {
	handlerOptions := &slog.HandlerOptions{Level: slog.LevelInfo}
	if o.logLevel == "debug" {
		handlerOptions.Level = slog.LevelDebug
	}
	var handler slog.Handler = slog.NewTextHandler(w, handlerOptions)
	if o.logFormat == "json" {
		handler = slog.NewJSONHandler(w, handlerOptions)
	}
	log := logr.FromSlogHandler(handler)
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	slog.SetDefault(slog.New(handler))
	return log
}

func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return err == nil && number > 0
}

func isLabel(s string) bool     { return len(validation.IsDNS1123Label(s)) == 0 }
func isSubdomain(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }
