package main

import (
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

// image says which program of this machine stands for an image. Image is a name with or without a tag;
// without one it means every tag.
type image struct {
	Image   string   `json:"image"`
	Program string   `json:"program"`
	Args    []string `json:"args,omitempty"`
}

type images []image

func readImages(path string) (images, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Images images `json:"images"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, one := range file.Images {
		if info, err := os.Stat(one.Program); err != nil {
			return nil, fmt.Errorf("%s: the program for %s: %w", path, one.Image, err)
		} else if info.IsDir() || info.Mode()&0o111 == 0 {
			return nil, fmt.Errorf("%s: the program for %s cannot be run: %s", path, one.Image, one.Program)
		}
	}
	return file.Images, nil
}

// find prefers the entry with the tag.
func (i images) find(name string) (image, bool) {
	for _, wanted := range []string{name, withoutTag(name)} {
		for _, one := range i {
			if one.Image == wanted {
				return one, true
			}
		}
	}
	return image{}, false
}

func withoutTag(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		name = name[:colon]
	}
	return name
}
