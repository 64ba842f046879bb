package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// environment is the variables of a container; later ones may refer to earlier ones.
type environment map[string]string

func (p *pod) environment(ctx context.Context, spec *corev1.Container) (environment, error) {
	e := environment{
		"PATH":                    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOSTNAME":                p.object.Name,
		"KUBERNETES_SERVICE_HOST": p.node.network.node.String(),
		"KUBERNETES_SERVICE_PORT": apiPort,
	}
	for _, from := range spec.EnvFrom {
		var data map[string][]byte
		var err error
		switch {
		case from.ConfigMapRef != nil:
			data, err = p.configMap(ctx, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
		case from.SecretRef != nil:
			data, err = p.secret(ctx, from.SecretRef.Name, from.SecretRef.Optional)
		default:
			err = errors.New("a source of envFrom is not known here")
		}
		if err != nil {
			return nil, err
		}
		for key, text := range data {
			e[from.Prefix+key] = string(text)
		}
	}
	for _, variable := range spec.Env {
		if variable.ValueFrom == nil {
			e[variable.Name] = e.expand(variable.Value)
			continue
		}
		text, present, err := p.variable(ctx, variable.ValueFrom)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", variable.Name, err)
		}
		if present {
			e[variable.Name] = text
		}
	}
	return e, nil
}

func (p *pod) variable(ctx context.Context, from *corev1.EnvVarSource) (text string, present bool, err error) {
	var data map[string][]byte
	var key string
	var optional *bool
	switch {
	case from.FieldRef != nil:
		text, err = p.field(from.FieldRef.FieldPath)
		return text, true, err
	case from.ConfigMapKeyRef != nil:
		key, optional = from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Optional
		data, err = p.configMap(ctx, from.ConfigMapKeyRef.Name, optional)
	case from.SecretKeyRef != nil:
		key, optional = from.SecretKeyRef.Key, from.SecretKeyRef.Optional
		data, err = p.secret(ctx, from.SecretKeyRef.Name, optional)
	default:
		err = errors.New("its source is not known here")
	}
	if err != nil {
		return "", false, err
	}
	value, present := data[key]
	if !present && (optional == nil || !*optional) {
		return "", false, fmt.Errorf("there is no key %s", key)
	}
	return string(value), present, nil
}

var reference = regexp.MustCompile(`\$(\$|\([-._a-zA-Z][-._a-zA-Z0-9]*\))`)

// expand replaces $(NAME) where the name is known, and leaves it where it is not; $$ is one dollar.
func (e environment) expand(text string) string {
	return reference.ReplaceAllStringFunc(text, func(found string) string {
		if found == "$$" {
			return "$"
		}
		if value, ok := e[found[2:len(found)-1]]; ok {
			return value
		}
		return found
	})
}

func (e environment) expandAll(texts []string) []string {
	var expanded []string
	for _, text := range texts {
		expanded = append(expanded, e.expand(text))
	}
	return expanded
}

func (e environment) list() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(e)) {
		list = append(list, name+"="+e[name])
	}
	return list
}
