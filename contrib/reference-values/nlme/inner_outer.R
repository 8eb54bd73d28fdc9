# Degrees of freedom of nlme's inner-outer rule (Pinheiro & Bates 2000, section 2.4.2): Rscript inner_outer.R DATA_FOLDER > inner_outer.jsonl
library(nlme)
folder <- commandArgs(TRUE)[1]
read <- function(name, factors = character()) {
  data <- read.csv(file.path(folder, name))
  for (f in factors) data[[f]] <- factor(data[[f]])
  data
}
emit <- function(id, formula, random, fit) {
  df <- fit$fixDF$X
  cat(sprintf('{"id": "%s", "formula": "%s", "random": "%s", "nlme": "%s", "df": {%s}}\n', id, formula, random,
              as.character(packageVersion("nlme")),
              paste(sprintf('"%s": %g', names(df), df), collapse = ", ")))
}
sleep <- read("sleepstudy.csv", "Subject")
emit("sleepstudy", "Reaction ~ Days", "1 | Subject", lme(Reaction ~ Days, random = ~ 1 | Subject, data = sleep))
orth <- read("orthodont.csv", c("Subject", "Sex"))
emit("orthodont", "distance ~ age * Sex", "1 + age | Subject", lme(distance ~ age * Sex, random = ~ age | Subject, data = orth))
oats <- read("oats.csv", c("Block", "Variety"))
emit("oats", "yld ~ Variety * nitro", "1 | Block/Variety", lme(yld ~ Variety * nitro, random = ~ 1 | Block/Variety, data = oats))
rat <- read("ratpupweight.csv", c("Litter", "Treatment", "sex"))
emit("ratpupweight", "weight ~ Treatment * sex + Lsize", "1 | Litter",
     lme(weight ~ Treatment * sex + Lsize, random = ~ 1 | Litter, data = rat))
emit("sleepstudy_origin", "Reaction ~ 0 + Days", "1 | Subject", lme(Reaction ~ 0 + Days, random = ~ 1 | Subject, data = sleep))
