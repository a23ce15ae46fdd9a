package look

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/injection/configfile"
)

// Where the injector's settings are: the agent's image in a variable of its Deployment, all
// else in a ConfigMap. manifests/injector/deployment.yaml and manifests/config.yaml make them.
const (
	injectorName  = "tidelay-injector"
	imageVariable = "AGENT_IMAGE"
	configKey     = "config.yaml"
)

// Settings returns the settings of agents as the injector has them in its namespace. An image
// that is named takes the place of the injector's. unseen has a sentence for what may not be
// read: defaults stand for it then. Without an image nothing can stand for that, so that is an
// error.
func Settings(ctx context.Context, reader client.Reader, namespace, image string) (config injection.Config, unseen []string, err error) {
	key := types.NamespacedName{Namespace: namespace, Name: injectorName}
	if image == "" {
		if image, err = imageOf(ctx, reader, key); err != nil {
			return injection.Config{}, nil, fmt.Errorf("read the agent's image from Deployment %s: %w; name it with --image, or where Tidelay is with --tidelay-namespace", key, err)
		}
	}
	defaults := injection.Config{Image: image, PullPolicy: corev1.PullIfNotPresent, Resources: injection.DefaultResources()}
	var file corev1.ConfigMap
	switch err := reader.Get(ctx, key, &file); {
	case apierrors.IsForbidden(err):
		return defaults, []string{fmt.Sprintf("you may not read the ConfigMap %s, so this is not known: the injector's settings, such as whether agents ask for a token", key)}, nil
	case apierrors.IsNotFound(err):
		return defaults, []string{fmt.Sprintf("there is no ConfigMap %s, so the injector's settings are not known, such as whether agents ask for a token", key)}, nil
	case err != nil:
		return injection.Config{}, nil, fmt.Errorf("read the injector's settings: %w", err)
	}
	if config, err = configfile.Parse([]byte(file.Data[configKey]), defaults); err != nil {
		return injection.Config{}, nil, fmt.Errorf("read the injector's settings from ConfigMap %s: %w", key, err)
	}
	return config, nil, nil
}

// imageOf returns the image that the injector gives to agents.
func imageOf(ctx context.Context, reader client.Reader, key types.NamespacedName) (string, error) {
	var deployment appsv1.Deployment
	if err := reader.Get(ctx, key, &deployment); err != nil {
		return "", err
	}
	for _, c := range deployment.Spec.Template.Spec.Containers {
		isImage := func(v corev1.EnvVar) bool { return v.Name == imageVariable && v.Value != "" }
		if i := slices.IndexFunc(c.Env, isImage); i >= 0 {
			return c.Env[i].Value, nil
		}
	}
	return "", fmt.Errorf("it has no variable %s", imageVariable)
}

// PodSecurity returns the Pod Security level that a namespace enforces by its labels; "" if
// they set none, or may not be read.
func PodSecurity(ctx context.Context, reader client.Reader, namespace string) (string, error) {
	var object metav1.PartialObjectMetadata
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := reader.Get(ctx, types.NamespacedName{Name: namespace}, &object)
	if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("read namespace %s: %w", namespace, err)
	}
	return object.Labels[injection.EnforceLabel], nil
}
