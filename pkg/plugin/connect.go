package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
	"github.com/tidelay/tidelay/pkg/plugin/agents"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// The rate limit of calls, as kubectl has it.
const (
	callsPerSecond = 50
	callsBurst     = 300
)

// NewScheme returns a scheme with the kinds of Kubernetes, of TiDB Operator and of Tidelay.
func NewScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, tcv1alpha1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("add kinds: %w", err)
		}
	}
	return scheme, nil
}

// Connection is a way to the API server with the rights of a person.
type Connection struct {
	client.Client
	// Agents reaches the agents of pods. See package agents for what an error of a request means.
	Agents agents.Reach
	// Watch tells of changes; nil where nobody does.
	Watch Watch
	// requestTimeout is kubectl's --request-timeout: how long one request may take; 0 for no
	// limit.
	requestTimeout time.Duration
}

// asker asks agents, each of which may take a while to answer, and less if --request-timeout
// says so.
func (c *Connection) asker(answer time.Duration) agents.Asker {
	return agents.Asker{Reach: c.Agents, Answer: answer, Most: c.requestTimeout}
}

// Watch tells of the changes of objects of a kind, as client.WithWatch does.
type Watch func(context.Context, client.ObjectList, ...client.ListOption) (watch.Interface, error)

// Connect connects by kubectl's flags. The kinds that are read are known here, so it asks for
// none of the API server's lists of them. It sends nothing.
func Connect(flags *genericclioptions.ConfigFlags) (*Connection, error) {
	config, err := flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig: %w", err)
	}
	if err := configured(flags, config); err != nil {
		return nil, err
	}
	config.QPS, config.Burst = callsPerSecond, callsBurst
	config.WarningHandler = rest.NewWarningWriter(os.Stderr, rest.WarningWriterOptions{Deduplicate: true})
	log.SetLogger(logr.Discard()) // else the client asks for one
	scheme, err := NewScheme()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: newMapper()})
	if err != nil {
		return nil, fmt.Errorf("create client: %w", err)
	}
	proxy, err := agents.New(config, c)
	if err != nil {
		return nil, err
	}
	return &Connection{Client: c, Agents: proxy, Watch: c.Watch}, nil
}

// defaultServer is the API server of who has named none.
const defaultServer = "http://localhost:8080"

// configured returns why nobody has said which API server is meant. Without a kubeconfig the one
// that kubectl takes is at localhost:8080, which is hardly ever there.
func configured(flags *genericclioptions.ConfigFlags, config *rest.Config) error {
	if *flags.APIServer != "" || config.Host != defaultServer {
		return nil
	}
	loader := flags.ToRawKubeConfigLoader()
	raw, err := loader.RawConfig()
	if err != nil || !clientcmdapi.IsConfigEmpty(&raw) {
		return nil //nolint:nilerr // then the configuration is there, and has been loaded
	}
	files := loader.ConfigAccess().GetLoadingPrecedence()
	return fmt.Errorf("no kubeconfig: %s is not there, or is empty; name one by --kubeconfig or KUBECONFIG", strings.Join(files, ", "))
}

// newMapper returns a mapper with the kinds that are read.
func newMapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, kind := range []schema.GroupVersionKind{
		coordinationv1.SchemeGroupVersion.WithKind("Lease"),
		corev1.SchemeGroupVersion.WithKind("Pod"),
		corev1.SchemeGroupVersion.WithKind("Secret"),
		corev1.SchemeGroupVersion.WithKind("ConfigMap"),
		appsv1.SchemeGroupVersion.WithKind("StatefulSet"),
		appsv1.SchemeGroupVersion.WithKind("ReplicaSet"),
		appsv1.SchemeGroupVersion.WithKind("Deployment"),
		{Group: "apps.pingcap.com", Version: "v1", Kind: "StatefulSet"},
		tidbcluster.GroupVersionKind(),
		v1alpha1.GroupVersion().WithKind("NetworkFault"),
		v1alpha1.GroupVersion().WithKind("NetworkTopology"),
	} {
		mapper.Add(kind, meta.RESTScopeNamespace)
	}
	for _, kind := range []string{"Node", "Namespace"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeRoot)
	}
	return mapper
}

// namespace returns the namespace that is meant.
func (a *app) namespace() (string, error) {
	namespace, _, err := a.config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("load kubeconfig: %w", err)
	}
	return namespace, nil
}

// connect returns a connection, and the namespace that is meant.
func (a *app) connect() (*Connection, string, error) {
	namespace, err := a.namespace()
	if err != nil {
		return nil, "", err
	}
	limit, err := clientcmd.ParseTimeout(*a.config.Timeout)
	if err != nil {
		return nil, "", usage("--request-timeout %q: %w", *a.config.Timeout, err)
	}
	c, err := a.Connect(a.config)
	if err != nil {
		return nil, "", err
	}
	c.requestTimeout = limit
	return c, namespace, nil
}

// limitOf returns the limit of time that ended a request: --request-timeout, or for what changes
// something writeTime if that is shorter. It is "" for every other error, such as that of a
// connection that took too long to be there, which has a limit of its own.
func (a *app) limitOf(err error) string {
	_, isConnection := errors.AsType[*net.OpError](err)
	if isConnection || !errors.Is(err, context.DeadlineExceeded) {
		return ""
	}
	asked, _ := clientcmd.ParseTimeout(*a.config.Timeout) // else nothing was sent
	request, is := errors.AsType[*url.Error](err)
	switch isWrite := is && !strings.EqualFold(request.Op, http.MethodGet); {
	case isWrite && (asked <= 0 || asked > writeTime):
		return writeTime.String()
	case asked > 0:
		return "--request-timeout=" + *a.config.Timeout
	default:
		return ""
	}
}
