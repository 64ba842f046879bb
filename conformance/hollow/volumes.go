package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mounts lays out the volumes that a container mounts, as files under the Pod's folder. They are not
// refreshed while the container runs.
func (p *pod) mounts(ctx context.Context, spec *corev1.Container) ([]mount, error) {
	var mounts []mount
	for _, wanted := range spec.VolumeMounts {
		at := slices.IndexFunc(p.object.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == wanted.Name })
		if at < 0 {
			return nil, fmt.Errorf("volume %s is not in the Pod", wanted.Name)
		}
		from, err := p.volume(ctx, &p.object.Spec.Volumes[at])
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", wanted.Name, err)
		}
		if wanted.SubPathExpr != "" {
			return nil, fmt.Errorf("volume %s: subPathExpr is not known here", wanted.Name)
		}
		mounts = append(mounts, mount{From: filepath.Join(from, wanted.SubPath), To: wanted.MountPath})
	}
	return mounts, nil
}

// volume returns the folder of a volume, made on the first call and filled on every.
func (p *pod) volume(ctx context.Context, volume *corev1.Volume) (string, error) {
	if volume.HostPath != nil {
		return volume.HostPath.Path, nil
	}
	folder := filepath.Join(p.folder, "volume-"+volume.Name)
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return "", err
	}
	var sources []corev1.VolumeProjection
	switch {
	case volume.EmptyDir != nil:
		return folder, os.Chmod(folder, 0o777)
	case volume.Projected != nil:
		sources = volume.Projected.Sources
	case volume.Secret != nil:
		sources = []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: volume.Secret.SecretName},
			Items:                volume.Secret.Items, Optional: volume.Secret.Optional,
		}}}
	case volume.ConfigMap != nil:
		sources = []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: volume.ConfigMap.LocalObjectReference,
			Items:                volume.ConfigMap.Items, Optional: volume.ConfigMap.Optional,
		}}}
	case volume.DownwardAPI != nil:
		sources = []corev1.VolumeProjection{{DownwardAPI: &corev1.DownwardAPIProjection{
			Items: volume.DownwardAPI.Items}}}
	default:
		return "", errors.New("its kind is not known here")
	}
	for _, source := range sources {
		files, err := p.project(ctx, source)
		if err != nil {
			return "", err
		}
		for name, text := range files {
			file := filepath.Join(folder, filepath.Clean("/"+name))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return "", err
			}
			if err := os.WriteFile(file, text, 0o644); err != nil {
				return "", err
			}
		}
	}
	return folder, nil
}

// project returns the files, by their paths in the volume, that one source stands for.
func (p *pod) project(ctx context.Context, source corev1.VolumeProjection) (map[string][]byte, error) {
	switch {
	case source.Secret != nil:
		data, err := p.secret(ctx, source.Secret.Name, source.Secret.Optional)
		if err != nil {
			return nil, err
		}
		return pick(data, source.Secret.Items, source.Secret.Optional)
	case source.ConfigMap != nil:
		data, err := p.configMap(ctx, source.ConfigMap.Name, source.ConfigMap.Optional)
		if err != nil {
			return nil, err
		}
		return pick(data, source.ConfigMap.Items, source.ConfigMap.Optional)
	case source.DownwardAPI != nil:
		files := map[string][]byte{}
		for _, item := range source.DownwardAPI.Items {
			if item.FieldRef == nil {
				return nil, fmt.Errorf("%s: only fields are known here", item.Path)
			}
			text, err := p.field(item.FieldRef.FieldPath)
			if err != nil {
				return nil, err
			}
			files[item.Path] = []byte(text)
		}
		return files, nil
	case source.ServiceAccountToken != nil:
		token, err := p.token(ctx, source.ServiceAccountToken)
		return map[string][]byte{source.ServiceAccountToken.Path: []byte(token)}, err
	}
	return nil, errors.New("its source is not known here")
}

func (p *pod) token(ctx context.Context, wanted *corev1.ServiceAccountTokenProjection) (string, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: wanted.ExpirationSeconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.object.Name,
			UID: p.object.UID},
	}}
	if wanted.Audience != "" {
		request.Spec.Audiences = []string{wanted.Audience}
	}
	accounts := p.node.client.CoreV1().ServiceAccounts(p.object.Namespace)
	answer, err := accounts.CreateToken(ctx, p.object.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return answer.Status.Token, nil
}

func (p *pod) secret(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	object, err := p.node.client.CoreV1().Secrets(p.object.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return object.Data, nil
}

func (p *pod) configMap(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	object, err := p.node.client.CoreV1().ConfigMaps(p.object.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	data := maps.Clone(object.BinaryData)
	if data == nil {
		data = map[string][]byte{}
	}
	for key, text := range object.Data {
		data[key] = []byte(text)
	}
	return data, nil
}

// pick returns the wanted keys under their paths; no item means every key under its own name.
func pick(data map[string][]byte, items []corev1.KeyToPath, optional *bool) (map[string][]byte, error) {
	if len(items) == 0 {
		return data, nil
	}
	picked := map[string][]byte{}
	for _, item := range items {
		text, ok := data[item.Key]
		if !ok && (optional == nil || !*optional) {
			return nil, fmt.Errorf("has no key %s", item.Key)
		} else if ok {
			picked[item.Path] = text
		}
	}
	return picked, nil
}

// lines writes labels as the downward API does.
func lines(of map[string]string) string {
	var text []string
	for _, key := range slices.Sorted(maps.Keys(of)) {
		text = append(text, key+"="+strconv.Quote(of[key]))
	}
	return strings.Join(text, "\n")
}
