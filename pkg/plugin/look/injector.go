package look

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/injection/configfile"
)

// What the manifests install the injector as.
const (
	// TidelayNamespace is the namespace, unless somebody chose another one.
	TidelayNamespace = "tidelay-system"
	// ConfigKey is the key of the settings in the ConfigMap.
	ConfigKey     = "config.yaml"
	installedName = "tidelay-injector"
	imageEnv      = "AGENT_IMAGE"
)

// Injector is how the injector adds agents.
type Injector struct {
	// Config has an empty image if that is not known, and the defaults for what else is not.
	Config injection.Config
	// Source says where the settings are from, in a few words, and IsKnown whether they are the
	// injector's.
	Source  string
	IsKnown bool
	// Unseen has a sentence for what is not known.
	Unseen []string
}

// DefaultConfig returns the settings of agents where nobody has set any. The image is not
// among them. version is that of the program.
func DefaultConfig(version string) injection.Config {
	return injection.Config{PullPolicy: corev1.PullIfNotPresent, Resources: injection.DefaultResources(), Version: version}
}

// ReadInjector reads how the injector in a namespace adds agents. version is that of this
// program; the injector's own is not known. The error is that the API server can't be asked.
func ReadInjector(ctx context.Context, reader client.Reader, namespace, version string) (*Injector, error) {
	i := &Injector{Config: DefaultConfig(version), Source: "the defaults"}
	if err := i.readConfig(ctx, reader, client.ObjectKey{Namespace: namespace, Name: installedName}); err != nil {
		return nil, err
	}
	return i, i.readImage(ctx, reader, client.ObjectKey{Namespace: namespace, Name: installedName})
}

func (i *Injector) readConfig(ctx context.Context, reader client.Reader, key client.ObjectKey) error {
	var settings corev1.ConfigMap
	missing, err := read(ctx, reader, key, "ConfigMap", &settings)
	if err != nil || missing != "" {
		i.Source = "the defaults, since " + missing
		return err
	}
	config, err := configfile.Parse([]byte(settings.Data[ConfigKey]), i.Config)
	if err != nil {
		i.Source = fmt.Sprintf("the defaults, since ConfigMap %s is not valid: %s: %s. The injector keeps to settings from before, which are not known", key, ConfigKey, err)
		return nil
	}
	i.Config, i.Source, i.IsKnown = config, "ConfigMap "+key.String(), true
	return nil
}

func (i *Injector) readImage(ctx context.Context, reader client.Reader, key client.ObjectKey) error {
	var deployment appsv1.Deployment
	missing, err := read(ctx, reader, key, "Deployment", &deployment)
	if err != nil {
		return err
	}
	for _, c := range deployment.Spec.Template.Spec.Containers {
		for _, e := range c.Env {
			if e.Name == imageEnv && injection.IsImage(e.Value) {
				i.Config.Image = e.Value
				return nil
			}
		}
	}
	if missing == "" {
		missing = fmt.Sprintf("Deployment %s has no environment variable %s", key, imageEnv)
	}
	i.Unseen = append(i.Unseen, "the agent's image and whether it can be pulled are not known, since "+missing)
	return nil
}

// read reads an object of the injector. If that is not there, or may not be read, missing says
// so.
func read(ctx context.Context, reader client.Reader, key client.ObjectKey, kind string, object client.Object) (missing string, err error) {
	err = reader.Get(ctx, key, object)
	switch {
	case err == nil:
		return "", nil
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("you may not read %s %s", kind, key), nil
	case apierrors.IsNotFound(err):
		return fmt.Sprintf("there is no %s %s (--tidelay-namespace names another namespace)", kind, key), nil
	default:
		return "", fmt.Errorf("read %s %s: %w", kind, key, err)
	}
}
