package daemon

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tidelay/tidelay/pkg/injection"
)

// Options are the flags that injector and controller both have.
type Options struct {
	AgentImage  string
	Config      string
	HealthAddr  string
	MetricsAddr string
	Namespace   string
	WebhookName string
	ServiceName string
	ImageCheck  time.Duration
	Kubeconfig  string
	LogLevel    string
	LogFormat   string
	Version     bool
}

// Common returns o. It makes a type that embeds Options a Program.
func (o *Options) Common() *Options { return o }

// NewFlags returns a flag set for the program called name with the flags of o.
func (o *Options) NewFlags(name string, getenv func(string) string) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.StringVar(&o.AgentImage, "agent-image", "", "image of the agent; required")
	f.StringVar(&o.Config, "config", "", "file that says how to inject, followed while it changes; empty for the defaults")
	f.StringVar(&o.HealthAddr, "health-addr", ":8081", "address of /healthz and /readyz")
	f.StringVar(&o.MetricsAddr, "metrics-addr", ":8080", "address of /metrics")
	f.StringVar(&o.Namespace, "namespace", getenv("POD_NAMESPACE"), "namespace that the "+name+" runs in; $POD_NAMESPACE unless given")
	f.StringVar(&o.WebhookName, "webhook-name", "tidelay-injector", "name of the MutatingWebhookConfiguration")
	f.StringVar(&o.ServiceName, "service-name", "tidelay-injector", "name of the Service in front of the webhook")
	f.DurationVar(&o.ImageCheck, "image-check", 15*time.Second, "how often to look for pods whose agent's image can't be pulled, 1s to 5m")
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "path of a kubeconfig; empty for the pod's ServiceAccount")
	f.StringVar(&o.LogLevel, "log-level", "info", "info or debug")
	f.StringVar(&o.LogFormat, "log-format", "text", "text or json")
	f.BoolVar(&o.Version, "version", false, "print the version and exit")
	return f
}

// Problems collects the flags that are not valid.
type Problems struct {
	errs []error
}

// Check adds a flag unless ok, with its value and what is accepted.
func (p *Problems) Check(ok bool, flag, value, want string) {
	if !ok {
		p.errs = append(p.errs, fmt.Errorf("%s %q: want %s", flag, value, want))
	}
}

// Err returns an error with every problem, or nil if there is none.
func (p *Problems) Err() error { return errors.Join(p.errs...) }

// Check adds those flags of o that are not valid.
func (o *Options) Check(p *Problems) {
	p.Check(injection.IsImage(o.AgentImage), "agent-image", o.AgentImage, "an image reference such as tidelay/agent:v1")
	p.Check(isAddress(o.HealthAddr), "health-addr", o.HealthAddr, "an address such as :8081 or 127.0.0.1:8081")
	p.Check(isAddress(o.MetricsAddr), "metrics-addr", o.MetricsAddr, "an address such as :8080 or 127.0.0.1:8080")
	p.Check(IsLabel(o.Namespace), "namespace", o.Namespace, "the name of a namespace, or $POD_NAMESPACE set")
	p.Check(IsSubdomain(o.WebhookName), "webhook-name", o.WebhookName, "the name of a MutatingWebhookConfiguration")
	p.Check(IsLabel(o.ServiceName), "service-name", o.ServiceName, "the name of a Service")
	p.Check(o.ImageCheck >= time.Second && o.ImageCheck <= 5*time.Minute, "image-check", o.ImageCheck.String(), "1s to 5m")
	p.Check(o.LogLevel == "info" || o.LogLevel == "debug", "log-level", o.LogLevel, "info or debug")
	p.Check(o.LogFormat == "text" || o.LogFormat == "json", "log-format", o.LogFormat, "text or json")
}

// ConfigDefaults returns the configuration where the configuration file has no
// settings. version is the program's version.
func (o *Options) ConfigDefaults(version string) injection.Config {
	return injection.Config{
		Image: o.AgentImage, PullPolicy: corev1.PullIfNotPresent, Resources: injection.DefaultResources(), Version: version,
	}
}

// isAddress reports whether s is an address to listen on, with a port from 1 to
// 65535.
func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return err == nil && number > 0
}

// IsLabel reports whether s is a DNS label, as names of namespaces and Services are.
func IsLabel(s string) bool { return len(validation.IsDNS1123Label(s)) == 0 }

// IsSubdomain reports whether s is a DNS subdomain, as names of most objects are.
func IsSubdomain(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }
